"""The search stage: towers in order, blocks in order, then the guard's verdict."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence

import torch

from qvlm.artefacts import BlockPlan, ClipPlan, GuardOutcome
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.steps import InMemory, Steps
from qvlm.models.replay import catch_inputs, layers_caught
from qvlm.search.guard import Guard
from qvlm.search.install import Installer
from qvlm.search.settle import settle
from qvlm.search.state import Indices, SearchState, start_indices
from qvlm.search.tower import search_tower
from qvlm.search.weights import TokenWeights
from qvlm.workers import ALONE, Workers

Progress = Callable[[int, int], None]


@torch.no_grad()
def search(
    installer: Installer,
    plan: BlockPlan,
    batches: Sequence[Batch],
    guard_batches: Sequence[Batch] = (),
    progress: Progress = lambda done, total: None,
    steps: Steps | None = None,
    workers: Workers = ALONE,
) -> ClipPlan:
    """Chooses every static site's percentile and leaves the model quantized so.

    With the strategy `none`, or without a static site (a warning), that is where a search would
    start, and no layer is run.

    Args:
        installer: the model, its map, the recipe and the candidate ranges.
        plan: blocks of every tower that has sites.
        batches: samples that the losses are computed on.
        guard_batches: other samples, which have the last word; without them there is no guard.
        progress: told how many blocks are done.
        steps: keep finished blocks; by default nothing is kept.
        workers: the processes that share the batches; all choose the same.
    """
    begin = time.perf_counter()
    model, model_map = installer.model, installer.model_map
    settings = installer.recipe.search
    start = start_indices(installer.stats, settings.start)
    if settings.strategy == "none":
        clips = unsearched(installer)
        installer.install_plan(clips)
        return clips
    if not start:
        warnings.warn(
            f"search.strategy={settings.strategy} finds nothing to search: no activations have "
            "static ranges (recipes w4a4-static and w6a6-static have)",
            stacklevel=2,
        )
        clips = unsearched(installer)
        installer.install_plan(clips)
        return clips
    guard = Guard(model, guard_batches, workers) if guard_batches else None
    state = SearchState(
        installer=installer,
        start=start,
        batches=batches,
        weights=TokenWeights(settings.token_weights, model, model_map.towers, batches, workers),
        steps=InMemory() if steps is None else steps,
        workers=workers,
    )
    state.layer_forwards += state.weights.forward_equivalents * state.layers
    towers = model_map.quantized_towers
    own = workers.share(batches)
    caught = {index: catch_inputs(model, towers, batch) for index, batch in own.items()}
    state.layer_forwards += layers_caught(model_map, towers)
    total = sum(len(tower_plan.blocks) for tower_plan in plan.towers)
    for tower_plan in plan.towers:
        inputs = {
            index: received[tower_plan.tower]
            for index, received in caught.items()
            if tower_plan.tower in received
        }
        search_tower(state, tower_plan, inputs, lambda: progress(len(state.blocks), total))
    indices, outcome = _judged(state, guard)
    return ClipPlan(
        percentiles=_values(installer, indices),
        blocks=tuple(state.blocks),
        guard=outcome,
        forward_equivalents=state.layer_forwards / state.layers,
        seconds=time.perf_counter() - begin,
    )


def unsearched(installer: Installer) -> ClipPlan:
    """Returns the plan that a search would start from; no layer is run or changed."""
    start = start_indices(installer.stats, installer.recipe.search.start)
    return ClipPlan(
        percentiles=_values(installer, start),
        blocks=(),
        guard=None,
        forward_equivalents=0.0,
        seconds=0.0,
    )


def _values(installer: Installer, indices: Indices) -> dict[str, float]:
    return {name: installer.stats.percentiles[index] for name, index in indices.items()}


def _judged(state: SearchState, guard: Guard | None) -> tuple[Indices, GuardOutcome | None]:
    """The plan after the guard, if there is one."""
    if guard is None:
        return state.chosen, None
    indices, outcome = settle(state, guard)
    share = guard.samples / sum(len(batch.labels) for batch in state.batches)
    state.layer_forwards += guard.forwards * share * state.layers
    return indices, outcome
