"""Search the blocks of one tower, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch

from qvlm.artefacts import Block, BlockSearch, Site, Tower, TowerPlan
from qvlm.models.replay import TowerInput, catch_tower, layers_caught, run_layer
from qvlm.schemes import SearchSettings
from qvlm.search.block import BlockLoss
from qvlm.search.state import SearchState
from qvlm.search.strategies import Choice, beam, coordinate, exhaustive

Step = Callable[[int, int, torch.Tensor], torch.Tensor]
"""(layer, position of the batch among the tower's, hidden) -> hidden."""


def search_tower(
    state: SearchState,
    plan: TowerPlan,
    inputs: dict[int, TowerInput],
    advance: Callable[[], None],
) -> None:
    """Searches a tower's blocks in order and leaves it quantized with the choice.

    The full-precision path starts from `inputs`, the quantized path runs through all that is
    quantized so far (METHOD: joint search inside a block).

    Args:
        state: the search.
        plan: blocks of the tower.
        inputs: index of a batch of this process -> what the full-precision tower received.
        advance: called after each block.
    """
    tower = state.model_map.tower(plan.tower)
    if not state.model_map.sites_of(tower.name):
        return
    exact_calls = list(inputs.values())
    told = state.workers.gather(list(inputs))
    reached = sorted(index for parcel in told for index in parcel.info)
    batches = [reached.index(index) for index in inputs]
    # The quantized path has arguments of its own: image states come from quantized towers.
    calls = [
        received
        for batch in inputs
        if (received := catch_tower(state.model, tower, state.batches[batch])) is not None
    ]
    state.layer_forwards += layers_caught(state.model_map, (tower,))
    exact = [call.hidden for call in exact_calls]
    quantized = [call.hidden for call in calls]

    def exact_step(layer: int, batch: int, hidden: torch.Tensor) -> torch.Tensor:
        return run_layer(state.model, tower, layer, exact_calls[batch], hidden)

    def step(layer: int, batch: int, hidden: torch.Tensor) -> torch.Tensor:
        return run_layer(state.model, tower, layer, calls[batch], hidden)

    for block in plan.blocks:
        targets = exact
        for layer in range(block.start, block.stop):
            targets = [exact_step(layer, batch, hidden) for batch, hidden in enumerate(targets)]
        state.layer_forwards += block.stop - block.start
        positions = dict(zip(inputs, targets, strict=True))
        weights = state.weights.after(tower, block.stop - 1, positions)
        quantized = _search_block(state, tower, block, quantized, targets, weights, step, batches)
        exact = targets
        advance()


def _search_block(
    state: SearchState,
    tower: Tower,
    block: Block,
    inputs: list[torch.Tensor],
    targets: list[torch.Tensor],
    weights: list[torch.Tensor],
    step: Step,
    batches: Sequence[int],
) -> list[torch.Tensor]:
    """Searches one block and returns its outputs under the choice."""
    sites = [
        site
        for layer in range(block.start, block.stop)
        for site in state.model_map.sites_of(tower.name, layer)
    ]
    for site in sites:
        if site.name not in state.start:
            state.installer.install(site, None)
    name = f"search/{tower.name}.{block.start}"
    step_before = state.steps.recall(name)
    if step_before is not None:
        return _take_over(state, BlockSearch(**step_before.info), sites, inputs, step)
    static = [site for site in sites if site.name in state.start]
    loss = BlockLoss(
        sites=static,
        start=block.start,
        stop=block.stop,
        inputs=inputs,
        targets=targets,
        weights=weights,
        run_layer=step,
        install=state.installer.install,
        objective=state.settings.objective,
        batches=batches,
        workers=state.workers,
    )
    start = tuple(state.start[site.name] for site in static)
    start_loss = loss.race(start)
    choice, chosen_loss, stopped = _choose(state.settings, loss, start, len(state.percentiles))
    outputs = loss.outputs(choice)
    percentiles = state.percentiles
    found = BlockSearch(
        tower=tower.name,
        block=block,
        start={s.name: percentiles[i] for s, i in zip(static, start, strict=True)},
        chosen={s.name: percentiles[i] for s, i in zip(static, choice, strict=True)},
        start_loss=start_loss,
        chosen_loss=chosen_loss,
        evaluations=loss.evaluations,
        forward_equivalents=loss.layer_forwards / state.layers,
        stopped_by_budget=stopped,
    )
    state.add(found)
    state.steps.save(name, found.model_dump(mode="json"), {})
    return outputs


def _take_over(
    state: SearchState,
    found: BlockSearch,
    sites: Sequence[Site],
    inputs: list[torch.Tensor],
    step: Step,
) -> list[torch.Tensor]:
    """Quantizes a block as an earlier search chose, and returns its outputs."""
    state.add(found)
    for site in sites:
        if site.name in found.chosen:
            state.installer.install(site, state.chosen[site.name])
    outputs = inputs
    for layer in range(found.block.start, found.block.stop):
        outputs = [step(layer, batch, hidden) for batch, hidden in enumerate(outputs)]
    return outputs


def _choose(
    settings: SearchSettings, loss: BlockLoss, start: Choice, candidates: int
) -> tuple[Choice, float, bool]:
    """Runs the strategy; the flag tells whether the budget ended it."""
    if not start:
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
    may_continue = partial(_within, loss, limit)
    best, best_loss = coordinate(
        start, candidates, loss.race, max_sweeps=settings.max_sweeps, may_continue=may_continue
    )
    return best, best_loss, not may_continue()


def _within(loss: BlockLoss, limit: float) -> bool:
    return loss.layer_forwards <= limit
