"""qvlm's own recipes as rivals: the product's pipeline, from model to saved checkpoint."""

from __future__ import annotations

from rival import Axis, Case, Outcome

from qvlm import pipeline
from qvlm.artefacts import GuardOutcome
from qvlm.schemes import Recipe
from qvlm.schemes.layer import FLOAT_BITS

WHERE = "vision tower, projector and language model by the recipe; lm_head in floating point"
AXES: dict[str, Axis] = {
    "per_channel": "channel",
    "per_token": "token",
    "per_group": "group",
    "per_group_rotated": "group",
}
"""What shares a range, by granularity."""
NO_QUANTIZATION = ("load", "export")
"""Stages that the others' seconds leave out as well."""


def run(
    case: Case, recipe: Recipe, notes: str, *, where: str = WHERE, memory: int | None = None
) -> Outcome:
    """Quantizes by a recipe; the samples are those of the case, since the draw is the same."""
    directory = case.folder / "run"
    result = pipeline.quantize(case.name, recipe, case.source, directory, memory=memory)
    drawn = {sample.key for sample in case.samples}
    used = {*result.calibration_ids, *result.guard_ids}
    if used != drawn:
        raise RuntimeError("the recipe was calibrated on other samples than the rivals")
    apart = sum(result.stages[name].seconds for name in NO_QUANTIZATION)
    scheme = recipe.language or case.scheme
    activations = scheme.activations
    return Outcome(
        weight_bits=scheme.weights.bits,
        activation_bits=activations.bits,
        group=scheme.weights.group,
        scale_bits=16 if scheme.weights.symmetric else 16 + scheme.weights.bits,
        axis=None if activations.bits == FLOAT_BITS else AXES[activations.granularity],
        where=where,
        notes=notes + _held_back(result.guard),
        directory=directory,
        checkpoint_bytes=result.sizes.checkpoint_bytes,
        seconds=result.total_seconds - apart,
    )


def _held_back(guard: GuardOutcome | None) -> str:
    if guard is None or not guard.fell_back:
        return ""
    kept = f"{len(guard.kept_blocks)} of {guard.blocks}"
    return f"; the guard kept {kept} searched blocks, else the ranges of {guard.base}"
