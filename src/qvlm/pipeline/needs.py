"""Memory and disk that a quantization needs, from shapes alone."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from qvlm.artefacts import ModelMap, Site, Tower
from qvlm.artefacts.calibration import IMAGE, Batch
from qvlm.artefacts.layout import TOKEN_TOWERS
from qvlm.models.describe import group_size_of
from qvlm.models.experts import experts_one_by_one
from qvlm.numerics.hessian import factorization_bytes
from qvlm.numerics.rounding import WEIGHTS_AT_ONCE
from qvlm.schemes import Recipe
from qvlm.search.looks import looks_of, moment_bytes

_STACKED_COPIES = 2
"""Float32 matrices of a site's weights that are held while it is rounded."""
_WORKING_COPIES = 7
"""The same of the rows that are rounded at a time."""
_LEVEL_BYTES = 1.7
"""Of a weight as a level with its share of scale and zero point, and once more as it is packed."""
_ACTIVATION_COPIES = 8
"""Float32 tensors of the widest input that a layer and its statistics hold at a time."""


@dataclass(frozen=True)
class Work:
    """Shapes of a run.

    Attributes:
        model: in memory or on the meta device.
        model_map: its towers and sites.
        recipe: what is done to it.
        batches: calibration samples.
        streamed: whether layers stay on disk.
    """

    model: nn.Module
    model_map: ModelMap
    recipe: Recipe
    batches: Sequence[Batch]
    streamed: bool = False

    def positions(self, tower: Tower) -> list[int]:
        """Positions of every batch that a tower runs on."""
        if tower.name in TOKEN_TOWERS:
            return [batch.labels.numel() for batch in self.batches]
        return [_image_positions(self.model, batch) for batch in self.batches if batch.has_images]

    def rows(self, tower: Tower) -> list[int]:
        """Sequences in every batch that a tower runs on, which attend to themselves alone."""
        if tower.name in TOKEN_TOWERS:
            return [len(batch.labels) for batch in self.batches]
        return [len(batch.labels) for batch in self.batches if batch.has_images]

    def has_sites(self, tower: Tower) -> bool:
        """True where something of a tower is quantized."""
        return bool(self.model_map.sites_of(tower.name))

    def row_bytes(self, tower: Tower) -> int:
        """Bytes of a position's hidden state."""
        return _width(self, tower) * _item_size(self.model)

    def layer_bytes(self, path: str) -> int:
        """Bytes of a layer in the model's type."""
        return parameter_bytes(self.model.get_submodule(path))

    def outputs(self, site: Site) -> int:
        """Outputs of the linears of a site."""
        linears: list[Any] = [self.model.get_submodule(path) for path in site.linears]
        return sum(linear.out_features for linear in linears)

    def weights(self, sites: Sequence[Site]) -> int:
        """Weights that are quantized at some sites."""
        return sum(self.outputs(site) * site.channels for site in sites)

    def packed_bytes(self) -> int:
        """Bytes of all packed layers."""
        total = 0.0
        for site in self.model_map.sites:
            scheme = self.recipe.tower_scheme(site.tower)
            if scheme is not None:
                weights = self.weights((site,))
                groups = weights / group_size_of(site, self.recipe)
                total += weights * scheme.weights.bits / 8
                total += groups * (2 + (0 if scheme.weights.symmetric else scheme.weights.bits / 8))
                total += 5 * site.channels * scheme.activations.is_static
        return int(total)


def parameter_bytes(module: nn.Module) -> int:
    """Bytes of the parameters of a module, tied ones once."""
    return sum(p.numel() * p.element_size() for p in module.parameters())


def resident_bytes() -> int:
    """Memory of this process now; 0 where the system does not say."""
    path = Path("/proc/self/statm")
    if not path.is_file():
        return 0
    return int(path.read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def memory_needed(work: Work, base: int) -> int:
    """Largest resident memory of a run, in bytes.

    Args:
        work: what is done.
        base: memory of the process before it has a model.
    """
    towers = work.model_map.quantized_towers
    peak = max(
        _layer_needs(work, tower, layer) for tower in towers for layer in range(len(tower.layers))
    )
    total = parameter_bytes(work.model)
    if work.streamed:
        return base + _outside_layers(work) + peak
    weights = work.weights(work.model_map.sites)
    # Of finished layers the levels are kept. A search has all its choices in float32 before that.
    searched = work.recipe.search.strategy != "none"
    beside = max(_LEVEL_BYTES * weights, 4 * weights * searched)
    return base + total + int(beside) + peak


def disk_needed(work: Work) -> int:
    """Bytes of the output, and of what is kept beside it until it is complete."""
    packed, total = work.packed_bytes(), parameter_bytes(work.model)
    quantized = [p for s in work.model_map.sites for p in s.linears]
    floats = total - sum(parameter_bytes(work.model.get_submodule(path)) for path in quantized)
    rows = max(
        sum(work.positions(tower)) * _width(work, tower) * _item_size(work.model)
        for tower in work.model_map.quantized_towers
    )
    return 2 * packed + floats + 2 * rows


def _outside_layers(work: Work) -> int:
    """Bytes of the parameters that are in no layer, or are tied to one that is not."""
    layers = tuple(f"{path}." for tower in work.model_map.towers for path in tower.layers)
    named = work.model.named_parameters(remove_duplicate=False)
    outside = {id(p): p for name, p in named if not name.startswith(layers)}
    return sum(p.numel() * p.element_size() for p in outside.values())


def _layer_needs(work: Work, tower: Tower, layer: int) -> int:
    sites = work.model_map.sites_of(tower.name, layer)
    simulated = 4 * work.weights(sites)
    held = _held(work, tower.layers[layer], sites) if work.streamed else simulated
    if not sites:
        return held
    batch = max(work.positions(tower), default=0)
    widest = max(site.channels for site in sites)
    activations = 4 * _ACTIVATION_COPIES * batch * widest
    scheme = work.recipe.tower_scheme(tower.name)
    if scheme is None or scheme.weights.rounding == "nearest":
        return (
            held + activations + 4 * _WORKING_COPIES * max(work.weights((site,)) for site in sites)
        )
    looks = looks_of(sites, work.recipe.rounding.passes)
    hessians = max(moment_bytes(look) for look in looks)
    steps = (
        max(
            factorization_bytes(site.channels),
            4 * site.channels**2 + _rounding_needs(work.weights((site,))),
        )
        for site in sites
    )
    return held + hessians + max(activations, *steps)


def _held(work: Work, path: str, sites: Sequence[Site]) -> int:
    """Bytes of a layer read from the disk, with the simulated linears that take its place."""
    whole, weights = work.layer_bytes(path), work.weights(sites)
    layer = work.model.get_submodule(path)
    alone = experts_one_by_one(layer)
    if not alone:
        return whole + 4 * weights
    # Of the others the levels are kept, and at the end packed, too.
    of_experts = work.weights([site for site in sites if site.expert is not None])
    size = max(parameter_bytes(layer.get_submodule(expert)) for expert in alone)
    one = size + 4 * of_experts // len(alone)
    rest = whole - size * len(alone) + 4 * (weights - of_experts)
    return rest + one + int(_LEVEL_BYTES * of_experts)


def _rounding_needs(weights: int) -> int:
    """Bytes of the copies of a site's weights while they are rounded to second order."""
    at_once = min(weights, WEIGHTS_AT_ONCE)
    return 4 * (_STACKED_COPIES * weights + _WORKING_COPIES * at_once)


def _image_positions(model: Any, batch: Batch) -> int:
    """Positions of the vision tower: patches and a class token, or what its images become."""
    vision = getattr(model.config, "vision_config", None)
    size, patch = getattr(vision, "image_size", None), getattr(vision, "patch_size", None)
    if isinstance(size, int) and isinstance(patch, int):
        pixels = batch.inputs["pixel_values"]
        tiles = pixels.flatten(0, max(pixels.ndim - 4, 0)).shape[0]
        return int(tiles * ((size // patch) ** 2 + 1))
    merge = getattr(vision, "spatial_merge_size", 1)
    return int((batch.modality == IMAGE).sum()) * int(merge) ** 2


def _width(work: Work, tower: Tower) -> int:
    return work.model_map.sites_of(tower.name)[0].channels


def _item_size(model: nn.Module) -> int:
    return next(model.parameters()).element_size()
