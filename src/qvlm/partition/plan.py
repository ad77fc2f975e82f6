"""The block plan of a model: one partition per tower, as the recipe asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from qvlm.artefacts.plan import Block, BlockPlan, TowerPlan
from qvlm.errors import ArtefactError
from qvlm.partition.dynamic import partition
from qvlm.schemes import PartitionSettings

MEASURED = ("entropy", "quantization_error")
"""Proxies that partition by the dependency of consecutive layers."""


def plan_blocks(
    layers: Mapping[str, int],
    dependency: Mapping[str, Sequence[float]],
    settings: PartitionSettings,
) -> BlockPlan:
    """Returns the blocks of every tower; towers never share one.

    Args:
        layers: tower -> number of layers, in execution order.
        dependency: tower -> D(k, k+1) as the proxy measures it; `fixed` and `single_layer` only
            keep it.
        settings: proxy, depth and threshold.

    Raises:
        ArtefactError: the dependency of a tower is missing or of another length.
    """
    towers = tuple(
        plan_tower(tower, count, dependency.get(tower, ()), settings)
        for tower, count in layers.items()
    )
    return BlockPlan(proxy=settings.proxy, depth=settings.depth, towers=towers)


def plan_tower(
    tower: str, layers: int, dependency: Sequence[float], settings: PartitionSettings
) -> TowerPlan:
    """Returns the blocks of one tower.

    `entropy`, `quantization_error`: the best partition against h0, by default the mean
    dependency of the tower.
    `fixed`: runs of `depth` layers, the last one shorter where the depth does not divide.
    `single_layer`: every layer on its own.

    Args:
        tower: its name.
        layers: number of layers.
        dependency: D(k, k+1) as the proxy measures it, kept in the plan.
        settings: proxy, depth and threshold.

    Raises:
        ArtefactError: the proxy needs the dependency, and it is not one value per link.
    """
    threshold = None
    if settings.proxy in MEASURED:
        links = max(layers - 1, 0)
        if len(dependency) != links:
            raise ArtefactError(
                f"tower '{tower}' has {layers} layers and so {links} dependencies, the "
                f"statistics have {len(dependency)}: observe the model again"
            )
        threshold = settings.threshold
        if threshold is None:
            threshold = fmean(dependency) if dependency else 0.0
        blocks = partition(dependency, layers, settings.depth, threshold)
    else:
        blocks = _runs(layers, settings.depth if settings.proxy == "fixed" else 1)
    return TowerPlan(tower=tower, blocks=blocks, threshold=threshold, dependency=tuple(dependency))


def _runs(layers: int, length: int) -> tuple[Block, ...]:
    return tuple(
        Block(start=start, stop=min(start + length, layers)) for start in range(0, layers, length)
    )
