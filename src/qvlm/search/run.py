"""The search stage: towers in order, blocks in order, then the guard's verdict."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from qvlm.artefacts import BlockPlan, ClipPlan, GuardOutcome
from qvlm.artefacts.calibration import Batch
from qvlm.models.replay import catch_inputs
from qvlm.search.guard import Guard
from qvlm.search.install import Installer
from qvlm.search.settle import settle
from qvlm.search.state import SearchState, start_indices
from qvlm.search.tower import search_tower
from qvlm.search.weights import TokenWeights

Progress = Callable[[int, int], None]


@torch.no_grad()
def search(
    installer: Installer,
    plan: BlockPlan,
    batches: Sequence[Batch],
    guard_batches: Sequence[Batch] = (),
    progress: Progress = lambda done, total: None,
) -> ClipPlan:
    """Chooses every static site's percentile and leaves the model quantized so.

    Args:
        installer: the model, its map, the recipe and the candidate ranges.
        plan: blocks of every tower that has sites.
        batches: samples that the losses are computed on.
        guard_batches: other samples, which have the last word; without them there is no guard.
        progress: told how many blocks are done.
    """
    begin = time.perf_counter()
    model, towers = installer.model, installer.model_map.towers
    settings = installer.recipe.search
    searches = settings.strategy != "none"  # else there is nothing to weigh or to guard
    guard = Guard(model, guard_batches) if guard_batches and searches else None
    kind = settings.token_weights if searches else "uniform"
    state = SearchState(
        installer=installer,
        start=start_indices(installer.stats, settings.start),
        batches=batches,
        weights=TokenWeights(kind, model, towers, batches),
    )
    state.layer_forwards += state.weights.forward_equivalents * state.layers
    caught = [catch_inputs(model, towers, batch) for batch in batches]
    state.layer_forwards += state.layers
    total = sum(len(tower_plan.blocks) for tower_plan in plan.towers)
    for tower_plan in plan.towers:
        inputs = {
            index: received[tower_plan.tower]
            for index, received in enumerate(caught)
            if tower_plan.tower in received
        }
        search_tower(state, tower_plan, inputs, lambda: progress(len(state.blocks), total))
    indices, outcome = _judged(state, guard)
    return ClipPlan(
        percentiles={name: state.percentiles[index] for name, index in indices.items()},
        blocks=tuple(state.blocks),
        guard=outcome,
        forward_equivalents=state.layer_forwards / state.layers,
        seconds=time.perf_counter() - begin,
    )


def _judged(state: SearchState, guard: Guard | None) -> tuple[dict[str, int], GuardOutcome | None]:
    """The plan after the guard, if there is one."""
    if guard is None:
        return state.chosen, None
    indices, outcome = settle(state, guard)
    share = guard.samples / sum(len(batch.labels) for batch in state.batches)
    state.layer_forwards += guard.forwards * share * state.layers
    return indices, outcome
