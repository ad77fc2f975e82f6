"""The loss of a choice for one block: quantize, run, compare with full precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from qvlm.artefacts import Site
from qvlm.numerics.losses import l2_error, normalized_error
from qvlm.search.strategies import Choice
from qvlm.workers import ALONE, Workers

OBJECTIVES = {
    "normalized": normalized_error,
    "l2": l2_error,
}

_HEAT = 2 / 3
"""Layers over all samples that a loser of a race costs: with less than 1, joint search costs hardly
more than layer-wise search (benchmarks/search_cost)."""

RunLayer = Callable[[int, int, torch.Tensor], torch.Tensor]
"""(layer, batch of this process, hidden [samples, positions, channels]) -> hidden."""
Install = Callable[[Site, int], None]
"""Quantizes the linears of a site with the candidate of that index."""


@dataclass
class _Trial:
    """What evaluating a choice computed, batch by batch.

    Attributes:
        choice: one index per site.
        first: the layer from which on it was run; before it, it shares another trial's states.
        states: layer -> its input per batch of this process; the key `stop` of the block holds its
            output.
        errors: per batch of all, error of the output times the weight of its positions.
    """

    choice: Choice
    first: int
    states: dict[int, list[torch.Tensor]]
    errors: list[float] = field(default_factory=list)


@dataclass
class BlockLoss:
    """Block-output error as a function of the choice; what did not change is not run again.

    Each of several processes runs its batches; errors of all are added in the order of the batches,
    so that every process sees the same losses and takes the same decisions.

    Attributes:
        sites: static sites of the block, in execution order.
        start, stop: layers of the block.
        inputs: per batch, the quantized path's hidden state at the block's input.
        targets: per batch, the full-precision path's hidden state at its output.
        weights: per batch, [samples, positions] float, how much a position counts (0 = padding).
        run_layer, install: access to the model.
        objective: name in `OBJECTIVES`.
        batches: positions of these batches among those of all processes; by default there is one.
        workers: the processes.
        evaluations: choices looked at, wholly or in part.
        layer_runs: layers run, each on one batch.
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
    batches: Sequence[int] | None = None
    workers: Workers = ALONE
    evaluations: int = 0
    layer_runs: int = 0
    _installed: dict[int, int] = field(default_factory=dict)
    _latest: _Trial | None = None
    _best: _Trial | None = None
    _known: dict[Choice, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.batches is None:
            self.batches = range(len(self.inputs))
        masses = [float(weights.sum(dtype=torch.float64)) for weights in self.weights]
        self._own = dict(zip(self.batches, masses, strict=True))
        self._masses = self.workers.join(self._own)

    @property
    def layer_forwards(self) -> float:
        """Layers run over all batches, the unit of cost."""
        return self.layer_runs / len(self._masses)

    def __call__(self, choice: Choice) -> float:
        """Error of the block's output under `choice` (one index per site)."""
        if choice not in self._known:
            self._evaluate(choice)
        return self._known[choice]

    def race(self, choice: Choice) -> float:
        """As a call, but gives up, with infinity, on a choice that falls behind early.

        A choice that runs r > 1 layers again is first judged by two thirds of 1/r of the batches,
        against the best choice so far on the same batches. So a loser costs less than one layer
        over all samples, however early in the block it changes something; a winner has been seen
        on all of them.
        """
        if self._best is None:
            value = self(choice)
            self._best = self._latest
            return value
        if choice not in self._known:
            self._known[choice] = self._challenge(choice, self._best)
        return self._known[choice]

    def outputs(self, choice: Choice) -> list[torch.Tensor]:
        """Per batch, the block's output under `choice`; leaves the block quantized so."""
        for trial in (self._best, self._latest):
            if trial is not None and trial.choice == choice:
                self.apply(choice)
                return trial.states[self.stop]
        return self._evaluate(choice).states[self.stop]

    def apply(self, choice: Choice) -> None:
        """Quantizes the sites whose index differs from what is installed."""
        for position, (site, index) in enumerate(zip(self.sites, choice, strict=True)):
            if self._installed.get(position) != index:
                self.install(site, index)
                self._installed[position] = index

    def _evaluate(self, choice: Choice) -> _Trial:
        trial = self._begin(choice, self._latest)
        self._extend(trial, range(len(self._masses)))
        self._latest = trial
        self._known[choice] = sum(trial.errors) / sum(self._masses)
        return trial

    def _challenge(self, choice: Choice, best: _Trial) -> float:
        """Error of a choice that beats `best`, which it then replaces; infinity of a loser."""
        trial = self._begin(choice, best)
        batches, layers = len(self._masses), self.stop - trial.first
        heat = batches if layers == 1 else math.ceil(_HEAT * batches / layers)
        for part in (range(heat), range(heat, batches)):
            self._extend(trial, part)
            # Written so that NaN loses.
            if not sum(trial.errors) < sum(best.errors[: part.stop]):
                return math.inf
        self._best = trial
        return sum(trial.errors) / sum(self._masses)

    def _begin(self, choice: Choice, known: _Trial | None) -> _Trial:
        """A trial that shares the states of `known` as far as both choices agree."""
        self.evaluations += 1
        self.apply(choice)
        first = self.start
        if known is not None:
            while first < self.stop - 1 and self._agree(choice, known.choice, first + 1):
                first += 1
        states = {self.start: self.inputs}
        for layer in range(self.start + 1, self.stop + 1):
            states[layer] = known.states[layer] if known is not None and layer <= first else []
        return _Trial(choice, first, states)

    def _extend(self, trial: _Trial, batches: range) -> None:
        """Runs further batches of a trial from its first changed layer on."""
        measure = OBJECTIVES[self.objective]
        errors = {}
        for batch, (position, mass) in enumerate(self._own.items()):
            if position not in batches:
                continue
            hidden = trial.states[trial.first][batch]
            for layer in range(trial.first, self.stop):
                hidden = self.run_layer(layer, batch, hidden)
                trial.states[layer + 1].append(hidden)
            weights = self.weights[batch]
            keep = weights > 0
            error = measure(hidden[keep], self.targets[batch][keep], weights[keep])
            errors[position] = float(error) * mass
        trial.errors += self.workers.join(errors)
        self.layer_runs += (self.stop - trial.first) * len(batches)

    def _agree(self, first: Choice, second: Choice, layer: int) -> bool:
        """True if both choices give the input of `layer` the same value."""
        return all(
            a == b
            for site, a, b in zip(self.sites, first, second, strict=True)
            if site.layer < layer
        )
