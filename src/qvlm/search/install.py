"""Swap linears of a model between full precision and a candidate quantization."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import nn

from qvlm.artefacts import ClipPlan, ModelMap, Site
from qvlm.artefacts.statistics import ActivationStats
from qvlm.models.describe import group_size_of
from qvlm.models.replay import replace_module
from qvlm.numerics.affine import AffineGrid, grid_from_range
from qvlm.runtime import LinearParameters, SimulatedLinear, quantize_linear
from qvlm.schemes import LayerScheme, Recipe


class Installer:
    """Knows the full-precision linears and the candidate ranges of every site."""

    def __init__(
        self, model: nn.Module, model_map: ModelMap, recipe: Recipe, stats: ActivationStats
    ) -> None:
        self.model = model
        self.model_map = model_map
        self.recipe = recipe
        self.stats = stats
        self._linears = {
            path: cast(nn.Linear, model.get_submodule(path))
            for site in model_map.sites
            for path in site.linears
        }

    def scheme(self, site: Site) -> LayerScheme:
        """The scheme that the recipe gives to a site's tower."""
        return cast(LayerScheme, self.recipe.tower_scheme(site.tower))

    def grid(self, site: Site, index: int | None) -> AffineGrid | None:
        """Static grid of a site at a percentile index; None where it is computed at run time."""
        scheme = self.scheme(site).activations
        if index is None or not scheme.is_static:
            return None
        stats = self.stats.sites[site.name]
        return grid_from_range(
            stats.lower[index], stats.upper[index], scheme.bits, scheme.symmetric
        )

    def parameters(self, site: Site, index: int | None) -> dict[str, LinearParameters]:
        """Path -> quantized parameters of a site's linears."""
        grid = self.grid(site, index)
        group_size = group_size_of(site, self.recipe)
        return {
            path: quantize_linear(self._linears[path], self.scheme(site), group_size, grid)
            for path in site.linears
        }

    @torch.no_grad()
    def install(self, site: Site, index: int | None) -> None:
        """Replaces a site's linears by simulated ones."""
        for path, parameters in self.parameters(site, index).items():
            replace_module(self.model, path, SimulatedLinear(parameters))

    def final(self, clips: ClipPlan) -> Callable[[Site], dict[str, LinearParameters]]:
        """Returns a function from site to its linears' parameters under a plan."""

        def parameters_of(site: Site) -> dict[str, LinearParameters]:
            percentile = clips.percentiles.get(site.name)
            index = None if percentile is None else self.stats.percentiles.index(percentile)
            return self.parameters(site, index)

        return parameters_of

    def restore(self) -> None:
        """Puts every full-precision linear back."""
        for path, linear in self._linears.items():
            replace_module(self.model, path, linear)
