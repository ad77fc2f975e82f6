"""Quantized layers as steps: packed, on disk, and back in the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from qvlm.artefacts import ClipPlan, Site, Tower
from qvlm.artefacts.steps import Step, Steps
from qvlm.models.residency import holdable
from qvlm.runtime.packed import packed_site, unpacked_weight
from qvlm.search.install import Installer

NEAREST, ROUNDED = "nearest", "round"
"""Kinds of steps: the weights of a layer to nearest, or to second order."""


def step_name(kind: str, tower: str, layer: int) -> str:
    """Name of the step that holds a layer's packed tensors."""
    return f"{kind}/{tower}.{layer}"


@dataclass(frozen=True)
class LayerSteps:
    """Saves the quantized layers of a model and puts them back into it.

    Attributes:
        installer: the model, its map and the recipe.
        clips: the chosen percentiles.
        steps: where they are kept.
    """

    installer: Installer
    clips: ClipPlan
    steps: Steps

    def sites(self, tower: Tower, layer: int) -> tuple[Site, ...]:
        """Sites of a layer."""
        return self.installer.model_map.sites_of(tower.name, layer)

    def recall(self, kind: str, tower: Tower, layer: int) -> Step | None:
        """A finished layer, or None."""
        return self.steps.recall(step_name(kind, tower.name, layer))

    def save(self, kind: str, tower: Tower, layer: int, info: Mapping[str, Any]) -> None:
        """Keeps a layer as it is installed; its weights need not stay in memory any longer."""
        if not self.steps.lasting:
            return
        name, sites = step_name(kind, tower.name, layer), self.sites(tower, layer)
        final = self.installer.final(self.clips)
        tensors: dict[str, torch.Tensor] = {}
        for site in sites:
            tensors |= packed_site(site, final(site))
        self.steps.save(name, info, tensors)
        self._park(name, tower, layer)

    def adopt(self, kind: str, tower: Tower, layer: int, step: Step) -> None:
        """Puts a finished layer into the model, at once or whenever its weights are held."""
        name = step_name(kind, tower.name, layer)
        if not self._park(name, tower, layer):
            for site in self.sites(tower, layer):
                index = self.installer.index_of(site, self.clips)
                weights = self._weights(site, step)
                self.installer.install_rounded(site, index, weights, waits=True)

    def rest(self, tower: Tower, layer: int) -> None:
        """Lets go of the float weights of a finished layer that always is in memory."""
        if holdable(self.installer.model, tower.layers[layer]) is None:
            for site in self.sites(tower, layer):
                self.installer.rest(site, self.clips)

    def _park(self, name: str, tower: Tower, layer: int) -> bool:
        weights = holdable(self.installer.model, tower.layers[layer])
        if weights is None:
            return False
        sites = self.sites(tower, layer)
        covered = {f"{path}.weight" for site in sites for path in site.linears}
        weights.park(covered, partial(self._show, name, sites), partial(self._empty, sites))
        return True

    def _show(self, name: str, sites: Sequence[Site]) -> None:
        step = self.steps.recall(name)
        if step is None:
            raise RuntimeError(f"step '{name}' vanished during the run")
        for site in sites:
            index = self.installer.index_of(site, self.clips)
            self.installer.show(self.installer.completed(site, index, self._weights(site, step)))

    def _empty(self, sites: Sequence[Site]) -> None:
        self.installer.forget(sites)

    def _weights(self, site: Site, step: Step) -> dict[str, Any]:
        def read(name: str, _shape: tuple[int, ...], _dtype: torch.dtype) -> torch.Tensor:
            return step.tensors[name]

        scheme, group_size = self.installer.scheme(site).weights, self.installer.group_size(site)
        return {
            path: unpacked_weight(
                path,
                read,
                (self.installer.outputs_of(path), site.channels),
                bits=scheme.bits,
                group_size=group_size,
                symmetric=scheme.symmetric,
            )
            for path in site.linears
        }
