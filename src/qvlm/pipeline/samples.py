"""The calibration samples of a run, and what the model gets of them."""

from __future__ import annotations

from collections.abc import Sequence

from qvlm.artefacts.calibration import Batch
from qvlm.data import Sample, choose, open_source, split_guard
from qvlm.data.batches import calibration_batches
from qvlm.models import LoadedModel
from qvlm.models.place import device_of
from qvlm.schemes import Recipe

CALIBRATION_SPLIT = "train"


def calibration_samples(spec: str, recipe: Recipe) -> tuple[list[Sample], list[Sample]]:
    """Chooses calibration samples and keeps the guard's apart."""
    samples = open_source(spec, CALIBRATION_SPLIT)
    chosen = choose(samples, recipe.calibration.samples, recipe.seed)
    return split_guard(chosen, recipe.guard_fraction, recipe.seed)


def sample_batches(samples: Sequence[Sample], loaded: LoadedModel, recipe: Recipe) -> list[Batch]:
    """Batches of samples as the recipe cuts them, where the model computes."""
    settings = recipe.calibration
    batches = calibration_batches(
        samples, loaded.processor, settings.batch_size, settings.max_image_pixels
    )
    device = device_of(loaded.model)
    return [batch.to(device) for batch in batches]
