"""Write what the stages of a run found: the checkpoint and an artefact per stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qvlm.artefacts import BlockPlan, ClipPlan, Dependency, ModelMap
from qvlm.artefacts.journal import Journal
from qvlm.artefacts.result import Sizes
from qvlm.artefacts.rounding import RoundingOutcome
from qvlm.artefacts.statistics import ActivationStats
from qvlm.artefacts.store import write_json
from qvlm.artefacts.tensors import write_stats
from qvlm.export.checkpoint import write_checkpoint
from qvlm.models import LoadedModel
from qvlm.numerics.weights import QuantizedWeight
from qvlm.pipeline.pack import pack_layers
from qvlm.pipeline.vision import TrainedVision, write_vision
from qvlm.schemes import Recipe, dump_recipe
from qvlm.search import Installer

ARTEFACTS = "artefacts"
"""Folder, in a run directory, of what each stage made."""


@dataclass(frozen=True)
class Outcome:
    """What every stage found.

    Attributes:
        stats: candidate ranges.
        dependency: of consecutive layers.
        plan: blocks.
        clips: chosen percentiles.
        rounding: second-order rounding, where there was some.
        vision: the trained vision tower, where there is one.
        embeddings: the quantized table of token embeddings, where the recipe asks for it.
    """

    stats: ActivationStats
    dependency: Dependency
    plan: BlockPlan
    clips: ClipPlan
    rounding: RoundingOutcome | None
    vision: TrainedVision | None
    embeddings: QuantizedWeight | None = None


def write_run(
    directory: Path, loaded: LoadedModel, installer: Installer, outcome: Outcome, steps: Journal
) -> dict[str, Any]:
    """Writes a run directory but for its result.

    Args:
        directory: an empty one.
        loaded: the model; its full-precision linears are put back.
        installer: of that model.
        outcome: what the stages found.
        steps: hold the packed layers.

    Returns:
        The result's fields on what was written.
    """
    installer.restore()
    packed = pack_layers(installer, outcome.clips, outcome.rounding, steps, outcome.embeddings)
    written = write_checkpoint(
        directory, loaded.directory, loaded.model, packed.tensors, packed.index
    )
    _write_artefacts(directory, installer.recipe, outcome)
    return {
        "qvlm_version": packed.index.qvlm_version,
        "architecture": packed.index.architecture,
        "layers": packed.bits,
        "embeddings": packed.index.embeddings,
        "sizes": Sizes(
            quantized_bytes=packed.quantized_bytes,
            float32_bytes=packed.float32_bytes,
            checkpoint_bytes=written,
        ),
        "sparse_experts": _sparse_experts(installer.model_map, outcome.stats, installer.recipe),
        "blocks": outcome.plan,
        "guard": outcome.clips.guard,
        "rounding": outcome.rounding,
        "vision": None if outcome.vision is None else outcome.vision.plan,
    }


def _sparse_experts(model_map: ModelMap, stats: ActivationStats, recipe: Recipe) -> dict[str, int]:
    """Sites of experts that share their layer's range, with the tokens that they saw."""
    return {
        site.name: stats.sites[site.name].tokens
        for site in model_map.sites
        if site.expert is not None
        and site.name in stats.sites
        and stats.sites[site.name].tokens < recipe.calibration.expert_tokens
    }


def _write_artefacts(directory: Path, recipe: Recipe, outcome: Outcome) -> None:
    """Writes the outcome of every stage beside the checkpoint."""
    (directory / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    folder = directory / ARTEFACTS
    folder.mkdir()
    write_stats(folder / "statistics.safetensors", outcome.stats)
    write_json(folder / "dependency.json", outcome.dependency)
    write_json(folder / "blocks.json", outcome.plan)
    write_json(folder / "clipping.json", outcome.clips)
    if outcome.rounding is not None:
        write_json(folder / "rounding.json", outcome.rounding)
    if outcome.vision is not None:
        write_vision(folder, outcome.vision)
