"""Dependency of consecutive layers by two proxies, as one artefact that the partition reads.

`entropy` is the paper's: D(k, k+1) of METHOD 3, collected during the second observation forward.

`quantization_error` is the other proxy of the paper's ablation, which says no more of it than
"quantization errors as the proxy". Here: D_err(k, k+1) = error at the output of layer k+1 when
layer k alone is quantized, with the ranges that the search starts from, on the full-precision
path's input; `normalized_error` averaged over tokens. That is the part of layer k's error that
survives into k+1, which is what a joint search of both could still mend; the error at k's own
output would say nothing of k+1, and with k+1 quantized too its own error would drown the share
of k. Like the entropy it needs no search, and a higher value means "search these together".
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import nn

from qvlm.artefacts import Dependency, ModelMap, Site, Tower
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.statistics import ActivationStats
from qvlm.models.replay import TowerInput, catch_inputs, layers_caught, run_layer
from qvlm.numerics.losses import normalized_error
from qvlm.workers import ALONE, Workers

Progress = Callable[[int, int], None]
Quantize = Callable[[Site], None]
"""Replaces the linears of a site by quantized ones."""


def entropy_dependency(stats: ActivationStats) -> Dependency:
    """Returns what the observation collected; it costs seconds, but no forward of its own."""
    return Dependency(
        proxy="entropy",
        towers=stats.dependency,
        forward_equivalents=0.0,
        seconds=stats.entropy_seconds,
    )


@torch.no_grad()
def error_dependency(
    model: nn.Module,
    model_map: ModelMap,
    batches: Sequence[Batch],
    quantize: Quantize,
    restore: Callable[[], None],
    progress: Progress = lambda done, total: None,
    workers: Workers = ALONE,
) -> Dependency:
    """Returns the normalized error of layer k that survives into layer k+1, for every link.

    Costs a little over 3 forwards: the towers before the last to catch inputs, then per layer one
    on the full-precision path, one quantized, and the next layer once more. The tower's hidden
    states of one layer are held for all batches.

    Args:
        model: in full precision, and left so.
        model_map: its towers and sites.
        batches: calibration samples.
        quantize: quantizes a site with the range that the search starts from.
        restore: puts every full-precision linear back.
        progress: told how many links are done.
        workers: the processes that share the batches; all return the same.
    """
    start = time.perf_counter()
    towers = model_map.quantized_towers
    total = sum(max(len(tower.layers) - 1, 0) for tower in towers)
    caught = {
        index: catch_inputs(model, towers, batch) for index, batch in workers.share(batches).items()
    }
    values: dict[str, tuple[float, ...]] = {}
    layers_run = layers_caught(model_map, towers)
    done = 0
    for tower in towers:
        own = {index: calls[tower.name] for index, calls in caught.items() if tower.name in calls}
        inputs, errors = list(own.values()), []
        for outputs, targets in surviving(model, model_map, tower, inputs, quantize, restore):
            parts = map(_total_error, inputs, outputs, targets)
            told = workers.join(dict(zip(own, parts, strict=True)))
            errors.append(sum(total for total, _ in told) / sum(count for _, count in told))
            done += 1
            progress(done, total)
        values[tower.name] = tuple(errors)
        layers_run += _layers_run(len(tower.layers))
    return Dependency(
        proxy="quantization_error",
        towers=values,
        forward_equivalents=layers_run / model_map.layer_count,
        seconds=time.perf_counter() - start,
    )


def surviving(
    model: nn.Module,
    model_map: ModelMap,
    tower: Tower,
    inputs: Sequence[TowerInput],
    quantize: Quantize,
    restore: Callable[[], None],
) -> Iterator[tuple[list[torch.Tensor], list[torch.Tensor]]]:
    """Yields per link (k, k+1) the output of layer k+1 with layer k quantized, and without.

    Both are lists over the batches of [samples, positions, channels]. Call it without gradients.
    """
    layers = len(tower.layers)
    if layers < 2:
        return
    step = partial(run_layer, model, tower)
    exact = [call.hidden for call in inputs]
    exact_next = [step(0, call, x) for call, x in zip(inputs, exact, strict=True)]
    for k in range(layers - 1):
        for site in model_map.sites_of(tower.name, k):
            quantize(site)
        disturbed = [step(k, call, x) for call, x in zip(inputs, exact, strict=True)]
        restore()
        outputs = [step(k + 1, call, x) for call, x in zip(inputs, disturbed, strict=True)]
        exact = exact_next
        exact_next = [step(k + 1, call, x) for call, x in zip(inputs, exact, strict=True)]
        yield outputs, exact_next


def _layers_run(layers: int) -> int:
    """Layers that `surviving` runs on a tower."""
    return layers + 2 * (layers - 1) if layers > 1 else 0


def _total_error(call: TowerInput, output: torch.Tensor, target: torch.Tensor) -> tuple[float, int]:
    """Sum over the valid positions of a batch, and how many they are."""
    valid = (
        torch.ones(target.shape[:-1], device=target.device) if call.valid is None else call.valid
    )
    keep = valid.bool()
    count = int(keep.sum())
    return float(normalized_error(output[keep], target[keep])) * count, count
