"""The stages of a quantization that run the model, each with its cost."""

from __future__ import annotations

import time
from functools import partial

from qvlm.artefacts import BlockPlan, ClipPlan, Dependency, ModelMap
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.result import StageCost
from qvlm.artefacts.rounding import RoundingOutcome
from qvlm.artefacts.statistics import ActivationStats
from qvlm.artefacts.steps import Steps
from qvlm.models import LoadedModel
from qvlm.observe import observe
from qvlm.partition import plan_blocks
from qvlm.pipeline.costs import Costs
from qvlm.pipeline.dependency import measure_dependency
from qvlm.schemes import Recipe
from qvlm.search import Installer, round_model, rounded_towers, search, unsearched
from qvlm.workers import Workers


def look(
    loaded: LoadedModel,
    model_map: ModelMap,
    recipe: Recipe,
    batches: list[Batch],
    run: Costs,
    steps: Steps,
    workers: Workers,
    name: str,
) -> tuple[ActivationStats, Dependency]:
    """Observes the model and measures its dependency by the recipe's proxy."""
    tell = partial(run.progress, "observe")
    stats = observe(loaded.model, model_map, recipe, batches, tell, steps, name, workers)
    # The entropy is collected while observing; its seconds are the dependency's.
    seconds = stats.seconds - stats.entropy_seconds
    observed = StageCost(seconds=seconds, forward_equivalents=stats.forward_equivalents)
    run.add("observe", observed)
    installer = Installer(loaded.model, model_map, recipe, stats)
    tell = partial(run.progress, "dependency")
    dependency = measure_dependency(installer, batches, tell, workers)
    run.add("dependency", dependency)
    return stats, dependency


def partition(model_map: ModelMap, recipe: Recipe, dependency: Dependency, run: Costs) -> BlockPlan:
    """Divides the layers into blocks that are searched jointly."""
    start = time.perf_counter()
    plan = plan_blocks(model_map.quantized_layers, dependency.towers, recipe.partition)
    run.stages["partition"] = StageCost(seconds=time.perf_counter() - start)
    return plan


def choose_clips(
    installer: Installer,
    plan: BlockPlan,
    batches: list[Batch],
    guard_batches: list[Batch],
    run: Costs,
    steps: Steps,
    workers: Workers,
) -> ClipPlan:
    """Chooses the percentiles of all sites, by search or without."""
    if installer.recipe.search.strategy == "none":
        clips = unsearched(installer)
        run.add("search", clips)
        return clips
    tell = partial(run.progress, "search")
    clips = search(installer, plan, batches, guard_batches, tell, steps, workers)
    run.add("search", clips)
    return clips


def round_weights(
    installer: Installer,
    clips: ClipPlan,
    batches: list[Batch],
    guard_batches: list[Batch],
    run: Costs,
    steps: Steps,
    workers: Workers,
) -> RoundingOutcome | None:
    """Rounds all weights; returns what rounding to second order did, where there was some."""
    tell = partial(run.progress, "round")
    outcome = round_model(installer, clips, batches, guard_batches, tell, steps, workers)
    run.stages["round"] = StageCost(
        seconds=outcome.seconds, forward_equivalents=outcome.forward_equivalents
    )
    return outcome if rounded_towers(installer) else None
