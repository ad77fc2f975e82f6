"""Where a model's quantizable layers are: towers, layers, sites, linears."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated

from pydantic import Field

from qvlm.errors import ModelError
from qvlm.schemes.layer import Frozen

TowerName = Annotated[str, Field(pattern=r"^(vision|projector|language|head)(_\w+)?$")]
"""What a tower is for, and a suffix where a model has several of that kind (`vision_global`)."""
TOKEN_TOWERS = ("language", "head")
"""Towers whose positions are the tokens of `Batch.modality`."""
IMAGE_STATES = "image_states"
"""Role of the site of a cross-attention layer that reads the image instead of the tokens."""


class Site(Frozen):
    """One activation quantizer: the input shared by one or more linears."""

    name: str
    """For instance `language.3.attn_in`."""
    tower: TowerName
    layer: int
    role: str
    linears: tuple[str, ...]
    """Module paths of the linears that read this input."""
    channels: int
    """Width of the input."""
    expert: int | None = None
    """Which expert of the layer reads it; None where every position does."""

    @property
    def reads_tokens(self) -> bool:
        """True where the positions are tokens, of which some may be padding."""
        return self.tower in TOKEN_TOWERS and self.role != IMAGE_STATES


class Tower(Frozen):
    """A stack of layers that are run one after the other."""

    name: TowerName
    layers: tuple[str, ...]
    """Module paths, in execution order."""


class ModelMap(Frozen):
    """All towers and sites of a model, in execution order."""

    architecture: str
    towers: tuple[Tower, ...]
    sites: tuple[Site, ...]
    skipped: dict[str, str]
    """Linears that stay in floating point, with the reason."""
    embeddings: str | None = None
    """Module path of the token embeddings, where they are quantized."""

    @cached_property
    def site_of_linear(self) -> dict[str, Site]:
        """Module path of a linear -> the site whose input it reads."""
        return {linear: site for site in self.sites for linear in site.linears}

    def sites_of(self, tower: str, layer: int | None = None) -> tuple[Site, ...]:
        """Sites of a tower, or of one of its layers."""
        return tuple(
            site
            for site in self.sites
            if site.tower == tower and (layer is None or site.layer == layer)
        )

    def leading_sites(self, tower: str | None = None) -> tuple[Site, ...]:
        """The first site of each layer (`attn_in`): what the dependency is measured on."""
        leaders: dict[tuple[str, int], Site] = {}
        for site in self.sites:
            if tower is None or site.tower == tower:
                leaders.setdefault((site.tower, site.layer), site)
        return tuple(leaders.values())

    def tower(self, name: str) -> Tower:
        """The tower of that name.

        Raises:
            ModelError: the model has none.
        """
        for tower in self.towers:
            if tower.name == name:
                return tower
        raise ModelError(f"{self.architecture} has no {name} tower of layers, which this needs")

    @cached_property
    def quantized_towers(self) -> tuple[Tower, ...]:
        """The towers that have sites."""
        return tuple(tower for tower in self.towers if self.sites_of(tower.name))

    @cached_property
    def quantized_layers(self) -> dict[str, int]:
        """Tower that has sites -> number of its layers: what a partition divides."""
        return {tower.name: len(tower.layers) for tower in self.quantized_towers}

    @cached_property
    def layer_count(self) -> int:
        """Layers of all towers: running each once is one forward equivalent."""
        return sum(len(tower.layers) for tower in self.towers)

    def layers_before(self, tower: Tower) -> int:
        """Number of layers that run before a tower's first."""
        return sum(len(before.layers) for before in self.towers[: self.towers.index(tower)])
