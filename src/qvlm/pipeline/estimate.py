"""What a quantization would take, without doing it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from qvlm.artefacts import Tower
from qvlm.artefacts.estimate import Estimate
from qvlm.models import describe
from qvlm.models.load import load_empty
from qvlm.observe.tower import MEAN_POSITIONS
from qvlm.pipeline.needs import Work, disk_needed, memory_needed, parameter_bytes, resident_bytes
from qvlm.pipeline.rates import Rates, measure
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
    guard and a training of the vision tower are not foreseen.

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
    )
    start = time.perf_counter()
    dtype = next(loaded.model.parameters()).dtype
    bits = min(scheme.activations.bits for scheme in _schemes(settings))
    rates = measure(dtype, settings.search.percentiles, min(bits, 8), folder)
    return Estimate(
        streamed=memory is not None,
        memory_bytes=memory_needed(work, memory is not None, base),
        disk_bytes=disk_needed(work),
        seconds={
            "observe": _observe_seconds(work, rates),
            "round": _round_seconds(work, rates),
            "export": (work.packed_bytes() + parameter_bytes(loaded.model) // 10) / rates.disk,
        },
        measured_seconds=time.perf_counter() - start,
    )


def _schemes(recipe: Recipe) -> list[LayerScheme]:
    schemes = (recipe.language, recipe.projector, recipe.vision, recipe.lm_head)
    return [scheme for scheme in schemes if scheme is not None]


def _products(work: Work, tower: Tower) -> int:
    """Multiply-adds of one pass over a tower."""
    size = next(work.model.parameters()).element_size()
    weights = sum(work.layer_bytes(path) for path in tower.layers) // size
    return weights * sum(work.positions(tower))


def _caught(work: Work, tower: Tower) -> int:
    """Multiply-adds of what reaches a tower: the towers before it."""
    towers = work.model_map.towers
    return sum(_products(work, before) for before in towers[: towers.index(tower)])


def _observe_seconds(work: Work, rates: Rates) -> float:
    total = 0.0
    for tower in work.model_map.quantized_towers:
        total += (2 * _products(work, tower) + _caught(work, tower)) / rates.model
        positions = sum(work.positions(tower))
        seen = min(positions, 2 * MEAN_POSITIONS)
        scheme = work.recipe.tower_scheme(tower.name)
        for site in work.model_map.sites_of(tower.name):
            if scheme is not None and scheme.activations.is_static:
                total += positions * site.channels / rates.positions
        for site in work.model_map.leading_sites(tower.name):
            total += seen * site.channels / rates.pairs
    return total


def _round_seconds(work: Work, rates: Rates) -> float:
    total = work.packed_bytes() / rates.disk
    for tower in work.model_map.quantized_towers:
        scheme = work.recipe.tower_scheme(tower.name)
        if scheme is None or scheme.weights.rounding == "nearest":
            continue
        total += (2 * _products(work, tower) + _caught(work, tower)) / rates.float32
        positions = sum(work.positions(tower))
        for site in work.model_map.sites_of(tower.name):
            total += positions * site.channels**2 / rates.float32
            total += site.channels**3 / rates.factor
            total += work.weights((site,)) * site.channels / rates.columns
    return total
