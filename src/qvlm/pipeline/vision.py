"""The vision-encoder optimization between partition and search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from qvlm.artefacts import BlockPlan, Dependency, ModelMap
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.statistics import ActivationStats
from qvlm.artefacts.steps import Steps
from qvlm.artefacts.store import write_json
from qvlm.artefacts.tensors import write_tensors
from qvlm.artefacts.vision import VisionPlan, VisionTraining
from qvlm.data import Sample, split_guard
from qvlm.errors import DataError
from qvlm.models import LoadedModel
from qvlm.partition import plan_tower
from qvlm.pipeline.progress import Progress
from qvlm.pipeline.samples import sample_batches
from qvlm.schemes import Recipe
from qvlm.search import Installer
from qvlm.search.state import start_indices
from qvlm.vision import apply_tensors, optimize_vision

STEP = "vision"
PLAN_NAME = "vision.json"
TENSORS_NAME = "vision.safetensors"
"""In the folder of artefacts; `qvlm.vision.apply_tensors` puts the tensors into a fresh model."""


@dataclass(frozen=True)
class TrainedVision:
    """The vision tower that a training kept, with what it led to."""

    plan: VisionPlan
    tensors: dict[str, torch.Tensor]


def train_vision(
    loaded: LoadedModel,
    model_map: ModelMap,
    recipe: Recipe,
    samples: Sequence[Sample],
    stats: ActivationStats,
    plan: BlockPlan,
    look_again: Callable[[str], tuple[ActivationStats, Dependency]],
    steps: Steps,
    progress: Progress,
) -> tuple[TrainedVision, ActivationStats, Dependency, BlockPlan]:
    """Trains the vision tower of the loaded model, then looks at it again.

    Args:
        loaded: the model; its vision tower changes.
        model_map: its towers and sites.
        recipe: with `vision_optimization`.
        samples: calibration samples; those with an image are used, some of them to choose the
            epoch. The guard's are not among them.
        stats: of the original tower; the training holds the ranges that the search starts from.
        plan: blocks of the original tower.
        look_again: observes the loaded model as it is, and measures its dependency; told what
            to call that among the steps.
        steps: keep the trained tower.
        progress: told how far the training is.

    Returns:
        The tower, and statistics, dependency and blocks with it.

    Raises:
        DataError: fewer than two samples have an image.
    """
    train, judge = _batches(loaded, recipe, samples)
    installer = Installer(loaded.model, model_map, recipe, stats)
    start = start_indices(stats, recipe.search.start)
    grids = {
        site.name: grid
        for site in model_map.sites
        if (grid := installer.grid(site, start.get(site.name))) is not None
    }
    step = steps.recall(STEP)
    if step is None:
        training, tensors = optimize_vision(
            loaded.model, model_map, recipe, grids, train, judge, partial(progress, "vision")
        )
        steps.save(STEP, training.model_dump(mode="json"), tensors)
    else:
        training, tensors = VisionTraining(**step.info), dict(step.tensors)
        apply_tensors(loaded.model, tensors)
    stats, dependency = look_again("observe-trained")
    after = replan(plan, dependency, recipe)
    vision = VisionPlan(training=training, blocks_before=plan, blocks_after=after)
    return TrainedVision(vision, tensors), stats, dependency, after


def replan(plan: BlockPlan, dependency: Dependency, recipe: Recipe) -> BlockPlan:
    """Partitions again for the thresholds of the plan before.

    h0 stays that of the original tower: a threshold that is the mean of the new dependency would
    fall with it, and the blocks would never get smaller.
    """
    towers = tuple(
        plan_tower(
            tower.tower,
            tower.blocks[-1].stop,
            dependency.towers[tower.tower],
            recipe.partition.model_copy(update={"threshold": tower.threshold}),
        )
        for tower in plan.towers
    )
    return plan.model_copy(update={"towers": towers})


def write_vision(folder: Path, vision: TrainedVision) -> None:
    """Writes what the training did and the tower that it kept."""
    write_json(folder / PLAN_NAME, vision.plan)
    write_tensors(folder / TENSORS_NAME, vision.tensors, {"format": "pt"})


def _batches(
    loaded: LoadedModel, recipe: Recipe, samples: Sequence[Sample]
) -> tuple[list[Batch], list[Batch]]:
    """Batches that train and batches that choose the epoch, of the samples with an image."""
    settings = recipe.vision_optimization
    with_image = [sample for sample in samples if sample.image is not None]
    if settings is None or len(with_image) < 2:
        raise DataError(
            f"vision optimization needs 2 calibration samples with an image, {len(with_image)} "
            "have one: raise calibration.samples, calibrate on other data, or leave it out"
        )
    train, judge = split_guard(with_image, settings.validation_fraction, recipe.seed)
    return sample_batches(train, loaded, recipe), sample_batches(judge, loaded, recipe)
