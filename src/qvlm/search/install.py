"""Swap linears of a model between full precision and a candidate quantization."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import cast

import torch
from torch import nn

from qvlm.artefacts import ClipPlan, ModelMap, Site
from qvlm.artefacts.statistics import ActivationStats
from qvlm.models.describe import group_size_of
from qvlm.models.place import device_of
from qvlm.models.replay import replace_module
from qvlm.models.residency import is_waiting, on_disk
from qvlm.numerics.affine import AffineGrid, grid_from_range
from qvlm.numerics.weights import QuantizedWeight
from qvlm.runtime import LinearParameters, SimulatedLinear, quantize_linear
from qvlm.runtime.parameters import multiplier, with_weight
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
        self.device = device_of(model)
        self._linears = {
            path: cast(nn.Linear, model.get_submodule(path))
            for site in model_map.sites
            for path in site.linears
        }
        self._rounded: dict[str, tuple[int | None, dict[str, LinearParameters]]] = {}

    def scheme(self, site: Site) -> LayerScheme:
        """The scheme that the recipe gives to a site's tower."""
        return cast(LayerScheme, self.recipe.tower_scheme(site.tower))

    def group_size(self, site: Site) -> int:
        """Input channels that share a weight scale in a site's linears."""
        return group_size_of(site, self.recipe)

    def grid(self, site: Site, index: int | None) -> AffineGrid | None:
        """Static grid of a site at a percentile index; None where it is computed at run time."""
        scheme = self.scheme(site).activations
        if index is None or not scheme.is_static:
            return None
        stats = self.stats.sites[site.name]
        return grid_from_range(
            stats.lower[index].to(self.device),
            stats.upper[index].to(self.device),
            scheme.bits,
            scheme.symmetric,
        )

    def parameters(self, site: Site, index: int | None) -> dict[str, LinearParameters]:
        """Path -> quantized parameters of a site's linears."""
        grid = self.grid(site, index)
        group_size = self.group_size(site)
        return {
            path: quantize_linear(self._original(path), self.scheme(site), group_size, grid)
            for path in site.linears
        }

    @torch.no_grad()
    def install(self, site: Site, index: int | None, *, waits: bool = False) -> None:
        """Replaces a site's linears by simulated ones, rounded to nearest.

        Args:
            site: which.
            index: of its percentile.
            waits: their float weights are made when they compute, and not kept.
        """
        self._rounded.pop(site.name, None)
        self._put(self.parameters(site, index), waits=waits)

    @torch.no_grad()
    def install_plan(self, clips: ClipPlan) -> None:
        """Installs every site as a plan says, rounded to nearest; float weights are not kept."""
        for site in self.model_map.sites:
            self.install(site, self.index_of(site, clips), waits=True)

    def multipliers(self, site: Site, index: int | None) -> dict[str, torch.Tensor]:
        """Path -> the matrix [out, in] float32 that is quantized at a percentile index."""
        grid, scheme, size = self.grid(site, index), self.scheme(site), self.group_size(site)
        return {path: multiplier(self._original(path), grid, scheme, size) for path in site.linears}

    @torch.no_grad()
    def install_rounded(
        self,
        site: Site,
        index: int | None,
        weights: Mapping[str, QuantizedWeight],
        *,
        waits: bool = False,
    ) -> None:
        """Installs and keeps, for `final`, the `multipliers` of a site quantized elsewhere."""
        parameters = self.completed(site, index, weights)
        self._rounded[site.name] = (index, parameters)
        self._put(parameters, waits=waits)

    @torch.no_grad()
    def rest(self, site: Site, clips: ClipPlan) -> None:
        """Lets go of the float weights of a site that is done: they are made when it computes."""
        self._put(self.final(clips)(site), waits=True)

    def completed(
        self, site: Site, index: int | None, weights: Mapping[str, QuantizedWeight]
    ) -> dict[str, LinearParameters]:
        """Quantized `multipliers` with what else the linears of a site need."""
        grid, scheme = self.grid(site, index), self.scheme(site)
        return {
            path: with_weight(self._linears[path], weight.to(self.device), scheme, grid)
            for path, weight in weights.items()
        }

    @torch.no_grad()
    def show(self, parameters: Mapping[str, LinearParameters]) -> None:
        """Replaces linears by simulated ones of known parameters, and keeps nothing."""
        self._put(parameters)

    def forget(self, sites: Iterable[Site]) -> None:
        """Puts the full-precision linears of some sites back and keeps nothing for `final`."""
        for site in sites:
            self._rounded.pop(site.name, None)
            for path in site.linears:
                replace_module(self.model, path, self._linears[path])

    def outputs_of(self, path: str) -> int:
        """Outputs of a linear."""
        return self._linears[path].out_features

    def index_of(self, site: Site, clips: ClipPlan) -> int | None:
        """Index of the percentile that a plan gives a site; None where it has none."""
        percentile = clips.percentiles.get(site.name)
        return None if percentile is None else self.stats.percentiles.index(percentile)

    def final(self, clips: ClipPlan) -> Callable[[Site], dict[str, LinearParameters]]:
        """Returns a function from site to its linears' parameters under a plan.

        Sites that `install_rounded` installed last come as they were rounded.
        """

        def parameters_of(site: Site) -> dict[str, LinearParameters]:
            index = self.index_of(site, clips)
            rounded_at, rounded = self._rounded.get(site.name, (index, None))
            if rounded is not None and rounded_at == index:
                return rounded
            return self.parameters(site, index)

        return parameters_of

    def restore(self) -> None:
        """Puts every full-precision linear back."""
        for path, linear in self._linears.items():
            replace_module(self.model, path, linear)

    def _put(self, parameters: Mapping[str, LinearParameters], *, waits: bool = False) -> None:
        for path, linear in parameters.items():
            simulated = SimulatedLinear(linear, waits=waits or is_waiting(self.model, path))
            replace_module(self.model, path, simulated)

    def _original(self, path: str) -> nn.Linear:
        """A full-precision linear; its weight is read where it is on disk."""
        linear = self._linears[path]
        if not linear.weight.is_meta:
            return linear
        found = nn.Linear(linear.in_features, linear.out_features, bias=False, device="meta")
        weight = on_disk(self.model, f"{path}.weight").to(self.device)
        found.weight, found.bias = nn.Parameter(weight, requires_grad=False), linear.bias
        return found
