"""What the steps of one search share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import nn

from qvlm.artefacts import BlockSearch, ModelMap
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.statistics import ActivationStats
from qvlm.artefacts.steps import InMemory, Steps
from qvlm.schemes import SearchSettings
from qvlm.search.install import Installer
from qvlm.search.weights import TokenWeights
from qvlm.workers import ALONE, Workers

Indices = dict[str, int]
"""Site -> index into the percentiles."""


@dataclass
class SearchState:
    """A search in progress.

    Attributes:
        installer: the model, its map, the recipe and the candidate ranges.
        start: where every static site's search starts.
        batches: samples that the losses are computed on.
        weights: how much each position counts.
        steps: keep finished blocks.
        workers: the processes that share the batches.
        layer_forwards: layers run so far, over all batches.
        blocks: what was done, block by block.
        chosen: the outcome so far.
    """

    installer: Installer
    start: Indices
    batches: Sequence[Batch]
    weights: TokenWeights
    steps: Steps = field(default_factory=InMemory)
    workers: Workers = ALONE
    layer_forwards: float = 0.0
    blocks: list[BlockSearch] = field(default_factory=list)
    chosen: Indices = field(default_factory=dict)

    @property
    def model(self) -> nn.Module:
        """The model, partly quantized."""
        return self.installer.model

    @property
    def model_map(self) -> ModelMap:
        """Its layers and sites."""
        return self.installer.model_map

    @property
    def settings(self) -> SearchSettings:
        """What the recipe says of the search."""
        return self.installer.recipe.search

    @property
    def percentiles(self) -> tuple[float, ...]:
        """The candidates."""
        return self.installer.stats.percentiles

    @property
    def layers(self) -> int:
        """Layers of all towers: one forward equivalent."""
        return self.model_map.layer_count

    def add(self, found: BlockSearch) -> None:
        """Takes the outcome of a block."""
        self.layer_forwards += found.forward_equivalents * self.layers
        self.chosen |= {name: self.percentiles.index(value) for name, value in found.chosen.items()}
        self.blocks.append(found)

    def install(self, indices: Indices) -> None:
        """Quantizes every static site at its index."""
        for site in self.model_map.sites:
            if site.name in indices:
                self.installer.install(site, indices[site.name])


def start_indices(stats: ActivationStats, start: str) -> Indices:
    """Site -> index of the percentile that a search starts from: `lp` or `minmax`."""
    return {
        name: int(site.lp_error.argmin()) if start == "lp" else 0
        for name, site in stats.sites.items()
    }
