"""The loss of a choice for one block: quantize, run, compare with full precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from qvlm.artefacts import Site
from qvlm.numerics.losses import l2_error, normalized_error
from qvlm.search.strategies import Choice

OBJECTIVES = {
    "normalized": normalized_error,
    "l2": l2_error,
}

RunLayer = Callable[[int, int, torch.Tensor], torch.Tensor]
"""(layer, batch, hidden [samples, positions, channels]) -> hidden."""
Install = Callable[[Site, int], None]
"""Quantizes the linears of a site with the candidate of that index."""


@dataclass
class BlockLoss:
    """Block-output error as a function of the choice, with unchanged prefixes cached.

    Attributes:
        sites: static sites of the block, in execution order.
        start, stop: layers of the block.
        inputs: per batch, the quantized path's hidden state at the block's input.
        targets: per batch, the full-precision path's hidden state at its output.
        weights: per batch, [samples, positions] float, how much a position counts (0 = padding).
        run_layer, install: access to the model.
        objective: name in `OBJECTIVES`.
        evaluations: losses computed.
        layer_forwards: layers run over all batches, the unit of cost.
    """

    sites: Sequence[Site]
    start: int
    stop: int
    inputs: list[torch.Tensor]
    targets: list[torch.Tensor]
    weights: list[torch.Tensor]
    run_layer: RunLayer
    install: Install
    objective: str
    evaluations: int = 0
    layer_forwards: int = 0
    _installed: dict[int, int] = field(default_factory=dict)
    _states: dict[int, tuple[Choice, list[torch.Tensor]]] = field(default_factory=dict)
    _known: dict[Choice, float] = field(default_factory=dict)

    def __call__(self, choice: Choice) -> float:
        """Error of the block's output under `choice` (one index per site)."""
        if choice not in self._known:
            self.evaluations += 1
            self._known[choice] = self._error(self.outputs(choice))
        return self._known[choice]

    def outputs(self, choice: Choice) -> list[torch.Tensor]:
        """Per batch, the block's output under `choice`; leaves the block quantized so."""
        self.apply(choice)
        layer = self._first_changed(choice)
        hidden = self.inputs if layer == self.start else self._states[layer][1]
        for index in range(layer, self.stop):
            hidden = [self.run_layer(index, batch, state) for batch, state in enumerate(hidden)]
            self.layer_forwards += 1
            self._states[index + 1] = (self._prefix(choice, index + 1), hidden)
        return hidden

    def apply(self, choice: Choice) -> None:
        """Quantizes the sites whose index differs from what is installed."""
        for position, (site, index) in enumerate(zip(self.sites, choice, strict=True)):
            if self._installed.get(position) != index:
                self.install(site, index)
                self._installed[position] = index

    def _first_changed(self, choice: Choice) -> int:
        """Deepest layer of the block whose input is already known under `choice`."""
        for layer in range(self.stop, self.start, -1):
            if layer in self._states and self._states[layer][0] == self._prefix(choice, layer):
                return layer
        return self.start

    def _prefix(self, choice: Choice, layer: int) -> Choice:
        """The part of a choice that decides the input of `layer`."""
        return tuple(
            index for site, index in zip(self.sites, choice, strict=True) if site.layer < layer
        )

    def _error(self, outputs: list[torch.Tensor]) -> float:
        measure = OBJECTIVES[self.objective]
        total = mass = 0.0
        for output, target, weights in zip(outputs, self.targets, self.weights, strict=True):
            keep = weights > 0
            share = float(weights.sum(dtype=torch.float64))
            total += float(measure(output[keep], target[keep], weights[keep])) * share
            mass += share
        return total / mass
