"""The vision stage: train the tower, judge every epoch on held-out samples, keep the best."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from qvlm.artefacts import ModelMap
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.vision import VisionTraining
from qvlm.errors import DataError, RecipeError
from qvlm.numerics.affine import AffineGrid
from qvlm.schemes import Recipe
from qvlm.vision.objective import Objective, links, references
from qvlm.vision.parameters import only_trainable, vision_parameters
from qvlm.vision.straight_through import straight_through
from qvlm.vision.trace import recomputed
from qvlm.vision.training import Progress, Training


def optimize_vision(
    model: nn.Module,
    model_map: ModelMap,
    recipe: Recipe,
    grids: Mapping[str, AffineGrid],
    training: Sequence[Batch],
    validation: Sequence[Batch],
    progress: Progress = lambda done, total: None,
) -> tuple[VisionTraining, dict[str, Tensor]]:
    """Trains the vision tower in place and returns what happened and the kept parameters.

    Every linear is quantized as the recipe says, with straight-through gradients. The projector
    and the language model stay as they are. The epoch with the least validation loss is kept,
    the original tower being epoch 0, so that the outcome is never worse by that measure.

    Args:
        model: in full precision and evaluation mode.
        model_map: its towers and sites.
        recipe: with `vision_optimization`.
        grids: static site -> grid of its input, fixed during the training.
        training: batches that train; those without images are left out.
        validation: batches that judge; likewise.
        progress: told how many steps of how many are done.

    Raises:
        DataError: no batch for training, or none for validation, has images.
        RecipeError: the recipe has no `vision_optimization`, or an entropy weight but fewer
            than two consecutive quantized layers in the language model.
    """
    begin = time.perf_counter()
    settings = recipe.vision_optimization
    if settings is None:
        raise RecipeError("the recipe has no vision_optimization: give it that section")
    if settings.entropy_weight and not links(model_map):
        raise RecipeError(
            "vision_optimization.entropy_weight needs a language model with consecutive quantized "
            "layers: quantize it, or set the weight to 0"
        )
    train, judge = _with_images(training, "train"), _with_images(validation, "validate")
    batches = [*train, *judge]
    parameters = vision_parameters(model, model_map, batches[0])
    original = references(model, model_map, recipe, batches)
    layers = model_map.tower("language").layers
    with (
        only_trainable(model, parameters),
        straight_through(model, model_map, recipe, grids) as switch,
        recomputed(model, layers, switch.contexts) if settings.checkpointing else nullcontext(),
        torch.enable_grad(),
    ):
        objective = Objective(model, model_map, switch, batches, original, settings)
        run = Training(objective, parameters, len(train), recipe.seed, progress)
        kept = run.best_of_all_epochs()
    moved = _norm(kept[name].double() - tensor.double() for name, tensor in run.start.items())
    size = _norm(tensor.double() for tensor in run.start.values())
    samples = [sum(len(batch.labels) for batch in part) for part in (train, judge)]
    # References and the search for the parameters: a forward each, and one backward of a batch.
    passes = objective.passes + sum(samples) + 3 * len(batches[0].labels)
    record = VisionTraining(
        settings=settings,
        seed=recipe.seed,
        training_samples=samples[0],
        validation_samples=samples[1],
        epochs=tuple(run.epochs),
        chosen_epoch=run.chosen,
        diverged=run.diverged,
        parameters=sum(parameter.numel() for parameter in parameters.values()),
        change_norm=moved,
        relative_change=moved / size,
        forward_equivalents=passes / sum(samples),
        seconds=time.perf_counter() - begin,
    )
    return record, kept


def _with_images(batches: Sequence[Batch], purpose: str) -> list[Batch]:
    """The batches that the vision tower has a part in."""
    kept = [batch for batch in batches if batch.has_images]
    if not kept:
        raise DataError(
            f"vision optimization has no sample with an image to {purpose} on: "
            "calibrate on data with images, or leave vision_optimization out"
        )
    return kept


def _norm(tensors: Iterable[Tensor]) -> float:
    return math.sqrt(math.fsum(float(tensor.square().sum()) for tensor in tensors))
