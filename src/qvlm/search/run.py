"""The search stage: towers in order, blocks in order, then the guard's verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import nn

from qvlm.artefacts import (
    Block,
    BlockPlan,
    BlockSearch,
    ClipPlan,
    GuardOutcome,
    ModelMap,
    Site,
    Tower,
    TowerPlan,
)
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.statistics import ActivationStats
from qvlm.models.replay import TowerInput, catch_first_hidden, catch_inputs, run_layer
from qvlm.schemes import SearchSettings
from qvlm.search.block import BlockLoss
from qvlm.search.guard import Guard
from qvlm.search.install import Installer
from qvlm.search.strategies import Choice, beam, coordinate, exhaustive
from qvlm.search.weights import token_weights

Progress = Callable[[int, int], None]


@dataclass
class _Run:
    """What the steps of one search share."""

    installer: Installer
    start: dict[str, int]
    batches: Sequence[Batch]
    layer_forwards: float = 0.0
    blocks: list[BlockSearch] = field(default_factory=list)
    chosen: dict[str, int] = field(default_factory=dict)

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
        return sum(len(tower.layers) for tower in self.model_map.towers)


@torch.no_grad()
def search(
    installer: Installer,
    plan: BlockPlan,
    batches: Sequence[Batch],
    guard_batches: Sequence[Batch] = (),
    progress: Progress = lambda done, total: None,
) -> ClipPlan:
    """Chooses every static site's percentile and leaves the model quantized so.

    The full-precision path starts at the model's input; the quantized path runs through all
    that is quantized so far (METHOD: joint search inside a block).

    Args:
        installer: the model, its map, the recipe and the candidate ranges.
        plan: blocks of every tower that has sites.
        batches: samples that the losses are computed on.
        guard_batches: other samples; without them there is no guard.
    """
    begin = time.perf_counter()
    model, model_map, stats = installer.model, installer.model_map, installer.stats
    guard = Guard(model, guard_batches) if guard_batches else None
    run = _Run(
        installer=installer,
        start=start_choice(stats, installer.recipe.search.start),
        batches=batches,
    )
    caught = [catch_inputs(model, model_map.towers, batch) for batch in batches]
    run.layer_forwards += run.layers
    total = sum(len(tower_plan.blocks) for tower_plan in plan.towers)
    for tower_plan in plan.towers:
        inputs = {
            index: towers[tower_plan.tower]
            for index, towers in enumerate(caught)
            if tower_plan.tower in towers
        }
        _search_tower(run, tower_plan, inputs, lambda: progress(len(run.blocks), total))
    outcome = _judge(run, guard) if guard is not None else None
    indices = run.start if outcome is not None and outcome.fell_back else run.chosen
    return ClipPlan(
        percentiles={name: run.percentiles[index] for name, index in indices.items()},
        blocks=tuple(run.blocks),
        guard=outcome,
        forward_equivalents=run.layer_forwards / run.layers,
        seconds=time.perf_counter() - begin,
    )


def start_choice(stats: ActivationStats, start: str) -> dict[str, int]:
    """Site -> index of the percentile that the search starts from."""
    return {
        name: int(site.lp_error.argmin()) if start == "lp" else 0
        for name, site in stats.sites.items()
    }


def _search_tower(
    run: _Run, plan: TowerPlan, inputs: dict[int, TowerInput], advance: Callable[[], None]
) -> None:
    """Searches the blocks of one tower; `inputs` maps batch index -> what the tower received."""
    tower = run.model_map.tower(plan.tower)
    if not run.model_map.sites_of(tower.name):
        return
    calls = list(inputs.values())
    exact = [call.hidden for call in calls]
    quantized = [catch_first_hidden(run.model, tower, run.batches[index]) for index in inputs]
    run.layer_forwards += _layers_before(run.model_map, tower)
    weights = _weights(run, inputs)
    step = partial(_step, run.model, tower, calls)
    for block in plan.blocks:
        targets = exact
        for layer in range(block.start, block.stop):
            targets = [step(layer, batch, hidden) for batch, hidden in enumerate(targets)]
        run.layer_forwards += block.stop - block.start
        quantized = _search_block(run, tower, block, quantized, targets, weights, step)
        exact = targets
        advance()


def _search_block(
    run: _Run,
    tower: Tower,
    block: Block,
    inputs: list[torch.Tensor],
    targets: list[torch.Tensor],
    weights: list[torch.Tensor],
    step: Callable[[int, int, torch.Tensor], torch.Tensor],
) -> list[torch.Tensor]:
    """Searches one block and returns its outputs under the choice."""
    sites = [
        site
        for layer in range(block.start, block.stop)
        for site in run.model_map.sites_of(tower.name, layer)
    ]
    static = [site for site in sites if site.name in run.start]
    for site in sites:
        if site.name not in run.start:
            run.installer.install(site, None)
    loss = BlockLoss(
        sites=static,
        start=block.start,
        stop=block.stop,
        inputs=inputs,
        targets=targets,
        weights=weights,
        run_layer=step,
        install=run.installer.install,
        objective=run.settings.objective,
    )
    start = tuple(run.start[site.name] for site in static)
    start_loss = loss(start)
    choice, chosen_loss, stopped = _choose(run.settings, loss, start, len(run.percentiles))
    outputs = loss.outputs(choice)
    run.layer_forwards += loss.layer_forwards
    run.chosen.update(_named(static, choice))
    run.blocks.append(
        BlockSearch(
            tower=tower.name,
            block=block,
            start={s.name: run.percentiles[i] for s, i in zip(static, start, strict=True)},
            chosen={s.name: run.percentiles[i] for s, i in zip(static, choice, strict=True)},
            start_loss=start_loss,
            chosen_loss=chosen_loss,
            evaluations=loss.evaluations,
            forward_equivalents=loss.layer_forwards / run.layers,
            stopped_by_budget=stopped,
        )
    )
    return outputs


def _choose(
    settings: SearchSettings, loss: BlockLoss, start: Choice, candidates: int
) -> tuple[Choice, float, bool]:
    """Runs the strategy; the flag tells whether the budget ended it."""
    if settings.strategy == "none" or not start:
        return start, loss(start), False
    if settings.strategy == "beam":
        return *beam(start, candidates, loss, settings.beam_width), False
    if settings.strategy == "exhaustive":
        layers: dict[int, list[int]] = {}
        for position, site in enumerate(loss.sites):
            layers.setdefault(site.layer, []).append(position)
        return *exhaustive(start, candidates, loss, list(layers.values())), False
    depth = loss.stop - loss.start
    # One more evaluation and the final outputs may each run the whole block.
    limit = settings.budget * depth - 2 * depth

    def may_continue() -> bool:
        return loss.layer_forwards <= limit

    best, best_loss = coordinate(
        start, candidates, loss, max_sweeps=settings.max_sweeps, may_continue=may_continue
    )
    return best, best_loss, not may_continue()


def _judge(run: _Run, guard: Guard) -> GuardOutcome:
    """Compares the choice with the start on held-out samples; goes back where it is worse."""
    chosen = guard.judge(run.model)
    _install_all(run, run.start)
    start = guard.judge(run.model)
    fell_back = chosen.worse_than(start)
    if not fell_back:
        _install_all(run, run.chosen)
    share = guard.samples / sum(len(batch.labels) for batch in run.batches)
    run.layer_forwards += 3 * share * run.layers  # full precision, chosen, start
    return GuardOutcome(
        samples=guard.samples,
        start_answer_loss=start.answer_loss,
        start_kl=start.kl,
        chosen_answer_loss=chosen.answer_loss,
        chosen_kl=chosen.kl,
        fell_back=fell_back,
    )


def _install_all(run: _Run, choice: dict[str, int]) -> None:
    for site in run.model_map.sites:
        if site.name in choice:
            run.installer.install(site, choice[site.name])


def _step(
    model: nn.Module,
    tower: Tower,
    calls: list[TowerInput],
    layer: int,
    batch: int,
    hidden: torch.Tensor,
) -> torch.Tensor:
    return run_layer(model, tower, layer, calls[batch], hidden)


def _weights(run: _Run, inputs: dict[int, TowerInput]) -> list[torch.Tensor]:
    """Weight of every position that a tower runs on, per batch."""
    if all(call.valid is None for call in inputs.values()):
        return [torch.ones(call.hidden.shape[:-1]) for call in inputs.values()]
    of_batch = token_weights(run.batches, run.settings.token_weights)
    return [of_batch[index] for index in inputs]


def _layers_before(model_map: ModelMap, tower: Tower) -> int:
    names = [candidate.name for candidate in model_map.towers]
    return sum(len(t.layers) for t in model_map.towers[: names.index(tower.name)])


def _named(sites: list[Site], choice: Choice) -> dict[str, int]:
    return {site.name: index for site, index in zip(sites, choice, strict=True)}
