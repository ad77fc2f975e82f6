"""Observe one tower, layer by layer: each layer is a step that need not be done twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import nn

from qvlm.artefacts import ModelMap, Site, Tower
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.statistics import SiteStats
from qvlm.artefacts.steps import Row, Rows, Steps
from qvlm.models.replay import TowerInput, layers_caught, run_layer
from qvlm.models.residency import resident
from qvlm.models.walk import HIDDEN, caught_rows
from qvlm.observe.collectors import ErrorCollector, PairCollector
from qvlm.observe.heads import share_heads
from qvlm.observe.hooks import watch_sites
from qvlm.observe.layer import LayerStats, read_layer, save_layer
from qvlm.observe.tails import TailCollector
from qvlm.schemes import Recipe
from qvlm.schemes.layer import ActivationScheme
from qvlm.workers import ALONE, Workers

MEAN_POSITIONS = 4096
"""Positions per site that the means look at; of up to twice as many, all."""
_LEAD = "lead"
"""Name, in a row, of what the layer before read first."""


class TowerObserver:
    """Two passes over every layer of a tower; memory is that of one layer.

    Attributes:
        layer_forwards: layers run over all batches.
        entropy_seconds: time spent on the dependency by this process.
    """

    def __init__(
        self,
        model: nn.Module,
        model_map: ModelMap,
        tower: Tower,
        recipe: Recipe,
        schemes: Mapping[str, ActivationScheme],
        batches: Sequence[Batch],
        steps: Steps,
        name: str,
        workers: Workers = ALONE,
    ) -> None:
        self._model = model
        self._map = model_map
        self._tower = tower
        self._recipe = recipe
        self._schemes = schemes
        self._batches = batches
        self._workers = workers
        self._steps = steps
        self._name = f"{name}/{tower.name}"
        self._calls: dict[int, TowerInput] = {}
        self._pairs = PairCollector(model_map, schemes, {})
        self.layer_forwards = 0.0
        self.entropy_seconds = 0.0

    def layers(self) -> Iterator[LayerStats]:
        """Yields the statistics of every layer, in order; finished ones are recalled."""
        known = list(self._recalled())
        yield from known
        if len(known) == len(self._tower.layers):
            return
        inputs = self._inputs(known)
        for layer in range(len(known), len(self._tower.layers)):
            found, outputs = self._observe(layer, inputs)
            self._steps.drop(f"{self._name}.{layer}.inputs")
            inputs = outputs
            yield found

    def _recalled(self) -> Iterator[LayerStats]:
        """Finished layers from the first on, if the inputs of the next one are there, too."""
        steps = []
        for layer in range(len(self._tower.layers)):
            step = self._steps.recall(f"{self._name}.{layer}")
            if step is None:
                break
            steps.append(step)
        unfinished = len(steps) < len(self._tower.layers)
        if unfinished and self._steps.recall_rows(f"{self._name}.{len(steps)}.inputs") is None:
            return
        for step in steps:
            self.layer_forwards += step.info["layer_forwards"]
            yield read_layer(step)

    def _inputs(self, known: Sequence[LayerStats]) -> Rows:
        """What the first unfinished layer receives."""
        name = f"{self._name}.{len(known)}.inputs"
        own = self._workers.share(self._batches)
        caught = caught_rows(self._model, self._tower, own, self._calls)
        self.layer_forwards += layers_caught(self._map, (self._tower,))
        rows = self._steps.recall_rows(name) if known else None
        if rows is None:
            return self._steps.save_rows(name, caught)
        for _ in caught:
            pass
        self._pairs.know(known[-1].extremes)
        for leader in known[-1].extremes:
            for batch in self._calls:
                self._pairs.see(leader, rows[batch][_LEAD], batch)
        return rows

    @torch.no_grad()
    def _observe(self, layer: int, inputs: Rows) -> tuple[LayerStats, Rows]:
        """Statistics of a layer, and what the next one receives."""
        sites = self._map.sites_of(self._tower.name, layer)
        seconds = self._pairs.seconds
        with resident(self._model, self._tower.layers[layer]):
            tails = self._tails(layer, sites, inputs)
            ranges, extremes = tails.ranges(), tails.extremes()
            if self._recipe.calibration.share_heads:
                ranges = share_heads(ranges, self._model, self._map)
            errors = ErrorCollector(self._schemes, ranges, self._recipe.search.lp_norm)
            self._pairs.know(extremes)
            rows = self._second_pass(layer, sites, inputs, tails.positions, errors)
            outputs: Rows = {}
            if layer + 1 < len(self._tower.layers):
                outputs = self._steps.save_rows(f"{self._name}.{layer + 1}.inputs", rows)
            else:
                for _ in rows:
                    pass
        errors.join(self._workers)
        self._pairs.join(self._tower.name, layer - 1, self._workers)
        found = LayerStats(
            sites={
                name: SiteStats(lower, upper, errors.mean(name), tails.positions.get(name, 0))
                for name, (lower, upper) in ranges.items()
            },
            link=self._pairs.link(self._tower.name, layer - 1),
            extremes=extremes,
        )
        forwards = 1 + self._has_ranges(sites)
        self.layer_forwards += forwards
        self.entropy_seconds += self._pairs.seconds - seconds
        save_layer(self._steps, f"{self._name}.{layer}", found, forwards)
        return found, outputs

    def _tails(self, layer: int, sites: Sequence[Site], inputs: Rows) -> TailCollector:
        """First pass: what every site reads, up to the last site."""
        part = ModelMap(
            architecture=self._map.architecture,
            towers=self._map.towers,
            sites=tuple(sites),
            skipped={},
        )
        calibration, search = self._recipe.calibration, self._recipe.search
        tails = TailCollector(
            part, self._schemes, search.percentiles, self._batches, calibration.expert_tokens
        )
        # Without static ranges only the leading site is looked at: the layer stops at its door.
        watched = sites if self._has_ranges(sites) else sites[:1]
        if watched:
            for index, call in self._calls.items():
                batch, hidden = self._batches[index], inputs[index][HIDDEN]
                see = partial(tails.see, batch)
                with watch_sites(self._model, watched, batch, see, stop=True):
                    run_layer(self._model, self._tower, layer, call, hidden)
        tails.join(self._workers)
        return tails

    def _has_ranges(self, sites: Sequence[Site]) -> bool:
        return any(self._schemes[site.name].is_static for site in sites)

    def _second_pass(
        self,
        layer: int,
        sites: Sequence[Site],
        inputs: Rows,
        positions: Mapping[str, int],
        errors: ErrorCollector,
    ) -> Iterator[tuple[int, Row]]:
        """Runs the layer and measures errors and dependency; yields rows for the next layer."""
        for index, call in self._calls.items():
            lead: dict[str, torch.Tensor] = {}

            def see(
                site: str,
                x: torch.Tensor,
                index: int = index,
                lead: dict[str, torch.Tensor] = lead,
            ) -> None:
                x = x[:: max(1, positions.get(site, 0) // MEAN_POSITIONS)]
                errors.see(site, x, index)
                self._pairs.see(site, x, index)
                if site == sites[0].name:
                    lead[_LEAD] = x

            with watch_sites(self._model, sites, self._batches[index], see, stop=False):
                received = inputs[index][HIDDEN]
                hidden = run_layer(self._model, self._tower, layer, call, received)
            yield index, {HIDDEN: hidden, **lead}
