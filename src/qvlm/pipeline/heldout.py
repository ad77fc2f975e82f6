"""Which samples an analysis searches on, and which others judge the outcome."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from qvlm.data import Sample, choose, open_source, split_guard
from qvlm.errors import DataError
from qvlm.evaluation import HuggingFaceGenerator, evaluate, load_task
from qvlm.pipeline.progress import Progress
from qvlm.pipeline.samples import CALIBRATION_SPLIT
from qvlm.schemes import Recipe

HELD_OUT_SPLIT = "val"


@dataclass(frozen=True)
class AnalysisSamples:
    """Samples of an analysis.

    Attributes:
        searched: what `quantize` would search on, in the order of their batches.
        held_out: others, that judge the quality.
        notes: what is not as it should be.
    """

    searched: list[Sample]
    held_out: list[Sample]
    notes: tuple[str, ...]


def analysis_samples(spec: str, recipe: Recipe, count: int) -> AnalysisSamples:
    """Chooses samples; the guard's are neither searched nor judged on.

    Raises:
        DataError: the source cannot be read, or no sample is left to judge the quality.
    """
    train = open_source(spec, CALIBRATION_SPLIT)
    chosen = choose(train, recipe.calibration.samples, recipe.seed)
    searched, _ = split_guard(chosen, recipe.guard_fraction, recipe.seed)
    notes = []
    try:
        candidates = open_source(spec, HELD_OUT_SPLIT)
    except DataError as error:
        candidates = train
        notes.append(f"quality is judged on training samples that were not calibrated on: {error}")
    calibrated = {sample.fingerprint for sample in chosen}
    free = [sample for sample in candidates if sample.fingerprint not in calibrated]
    if not free:
        raise DataError(
            f"'{spec}' has no split '{HELD_OUT_SPLIT}' and no training sample that is not "
            "calibrated on: lower calibration.samples, so that some are left to judge the quality"
        )
    if len(free) < count:
        notes.append(f"quality is judged on {len(free)} samples: there are no more")
    return AnalysisSamples(
        # Batches with images come first.
        searched=sorted(searched, key=lambda sample: sample.image is None),
        held_out=choose(free, min(count, len(free)), recipe.seed),
        notes=tuple(notes),
    )


def generated_accuracy(
    processor: Any, samples: Sequence[Sample], task: str, progress: Progress
) -> Callable[[nn.Module], float]:
    """Returns what generates a model's answers and gives the per cent that a task counts right."""

    length = load_task(task).length(None)

    def accuracy(model: nn.Module) -> float:
        scores = evaluate(
            HuggingFaceGenerator(model, processor, max_new_tokens=length),
            samples,
            task=task,
            model_fingerprint="in memory",
            progress=partial(progress, "generate"),
        )
        return scores.overall.accuracy or 0.0

    return accuracy
