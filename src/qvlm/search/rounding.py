"""Second-order weight rounding of a model whose ranges are chosen: a pass of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from qvlm.artefacts import ClipPlan, Tower
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.rounding import RoundingGuard, RoundingOutcome, RoundingSeconds
from qvlm.artefacts.steps import InMemory, Steps
from qvlm.search.guard import Guard, Judgement
from qvlm.search.install import Installer
from qvlm.search.layers import LayerSteps
from qvlm.search.round_tower import RoundingRun, nearest_tower, round_tower
from qvlm.search.weights import TokenWeights
from qvlm.workers import ALONE, Workers

Progress = Callable[[int, int], None]


@torch.no_grad()
def round_model(
    installer: Installer,
    clips: ClipPlan,
    batches: Sequence[Batch],
    guard_batches: Sequence[Batch] = (),
    progress: Progress = lambda done, total: None,
    steps: Steps | None = None,
    workers: Workers = ALONE,
) -> RoundingOutcome:
    """Rounds the weights of every tower and installs them.

    Where the scheme of a tower says `gptq`: layer by layer, in execution order, on what the layer
    reads in the quantized model with everything before it rounded: the Hessian of a site is that
    of what its integer GEMM will multiply, q - z (METHOD 2). The ranges of the inputs stay as
    they are. The weights of other towers go to the nearest level.

    Args:
        installer: the model, its map and the recipe.
        clips: the chosen percentiles.
        batches: samples that the Hessians are summed over.
        guard_batches: other samples; where the model surely answers them worse than with
            nearest rounding, all weights go back to that. Without them there is no guard.
        progress: told the layers that are done.
        steps: keeps finished layers, packed (see `search.layers`); by default nothing is kept.
        workers: the processes that share the batches, and of each layer the sites; all return, and
            install, the same.

    Raises:
        DataError: no sample reaches a tower.
    """
    begin = time.perf_counter()
    model = installer.model
    installer.restore()
    done_steps = LayerSteps(installer, clips, InMemory() if steps is None else steps)
    towers = rounded_towers(installer)
    weights = _token_weights(installer, batches if towers else (), workers)
    run = RoundingRun(done_steps, weights, workers)
    run.layer_forwards += run.weights.forward_equivalents * run.layers
    guard = nearest = None
    if guard_batches and towers:
        with run.timed("guard"):
            guard = Guard(model, guard_batches, workers)
            installer.install_plan(clips)
            nearest = guard.judge(model)
    total = sum(len(tower.layers) for tower in installer.model_map.quantized_towers)
    done = 0
    for tower in installer.model_map.quantized_towers:
        second = tower in towers
        for _ in round_tower(run, tower, batches) if second else nearest_tower(run, tower):
            done += 1
            progress(done, total)
    verdict = None
    if guard is not None and nearest is not None:
        verdict = _judge(run, guard, nearest, sum(len(batch.labels) for batch in batches))
        if verdict.fell_back:
            for tower in towers:
                for _ in nearest_tower(run, tower):
                    pass
    return RoundingOutcome(
        sites=tuple(run.sites),
        guard=verdict,
        forward_equivalents=run.layer_forwards / run.layers,
        seconds=time.perf_counter() - begin,
        parts=RoundingSeconds(
            forwards=run.seconds["forwards"],
            hessians=run.seconds["hessians"],
            factorizations=run.seconds["factorizations"],
            columns=run.seconds["columns"],
            guard=run.seconds["guard"],
        ),
    )


def rounded_towers(installer: Installer) -> tuple[Tower, ...]:
    """Returns the towers of a model whose weights are to be rounded to second order."""
    return tuple(
        tower
        for tower in installer.model_map.quantized_towers
        for site in installer.model_map.sites_of(tower.name)[:1]
        if installer.scheme(site).weights.rounding == "gptq"
    )


def _judge(run: RoundingRun, guard: Guard, nearest: Judgement, samples: int) -> RoundingGuard:
    """Compares with nearest rounding on held-out samples; goes back to it if surely better."""
    with run.timed("guard"):
        rounded = guard.judge(run.installer.model)
    # Full precision, nearest and rounded, over the guard's samples.
    run.layer_forwards += 3 * guard.samples / samples * run.layers
    fell_back = nearest.surely_better_than(rounded)
    return RoundingGuard(
        samples=guard.samples,
        nearest=nearest.verdict,
        rounded=rounded.verdict,
        fell_back=fell_back,
    )


def _token_weights(
    installer: Installer, batches: Sequence[Batch], workers: Workers
) -> TokenWeights:
    kind = installer.recipe.rounding.token_weights
    return TokenWeights(kind, installer.model, installer.model_map.towers, batches, workers)
