"""What a quantization would take, without doing it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from qvlm.artefacts.estimate import Estimate
from qvlm.models import describe
from qvlm.models.describe import group_size_of
from qvlm.models.load import load_empty
from qvlm.pipeline.budget import memory_taken, settle_memory
from qvlm.pipeline.durations import stage_seconds
from qvlm.pipeline.needs import Work, disk_needed, resident_bytes
from qvlm.pipeline.rates import measure
from qvlm.pipeline.samples import calibration_samples, sample_batches
from qvlm.pipeline.streaming import check_streamable
from qvlm.schemes import LayerScheme, Recipe, load_recipe


def estimate(
    model: str | Path,
    recipe: str | Path | Recipe = "w4a4",
    calibration: str = "picoscience",
    *,
    overrides: Sequence[str] = (),
    memory: int | None = None,
    folder: Path = Path(),
    trust_remote_code: bool = False,
) -> Estimate:
    """Returns peak memory, disk and seconds per stage that `quantize` would need here.

    Memory and disk follow from shapes, seconds from a measurement of a few seconds. A search, its
    guard and a training of the vision tower are not foreseen. With `memory`, the allocator of this
    process is set as `quantize` would set it, since the measurement depends on it.

    Args:
        model, recipe, calibration, overrides, memory, trust_remote_code: as in `quantize`.
        folder: where the output would be.

    Raises:
        QvlmError: as `quantize` would before it begins; or the recipe has what is not foreseen.
    """
    settings = load_recipe(recipe, overrides)
    check_streamable(settings, "leave out --dry-run")
    base = resident_bytes()
    loaded = load_empty(model, adapter=settings.adapter, trust_remote_code=trust_remote_code)
    used, _ = calibration_samples(calibration, settings)
    work = Work(
        loaded.model,
        describe(loaded.model, settings),
        settings,
        sample_batches(used, loaded, settings),
        streamed=memory is not None,
    )
    if memory is not None:
        settle_memory(work, memory, base)
    start = time.perf_counter()
    dtype = next(loaded.model.parameters()).dtype
    rates = measure(
        dtype, *_representative(work), settings.search.percentiles, _hidden_shape(work), folder
    )
    return Estimate(
        streamed=work.streamed,
        memory_bytes=memory_taken(work, memory, base),
        disk_bytes=disk_needed(work),
        seconds=stage_seconds(work, rates),
        measured_seconds=time.perf_counter() - start,
    )


def _representative(work: Work) -> tuple[LayerScheme, int]:
    """The scheme that most of the linears have, and its group size: the last tower's."""
    site = work.model_map.sites_of(work.model_map.quantized_towers[-1].name)[0]
    scheme = work.recipe.tower_scheme(site.tower)
    if scheme is None:
        raise RuntimeError(f"'{site.name}' has no scheme")
    return scheme, group_size_of(site, work.recipe)


def _hidden_shape(work: Work) -> tuple[int, int]:
    """Positions of the largest batch in the last tower, and the channels of its hidden states."""
    tower = work.model_map.quantized_towers[-1]
    return max(work.positions(tower), default=1), work.model_map.sites_of(tower.name)[0].channels
