"""Analyze a model: what joint search gains, what foretells it, where the outliers are."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch
from torch import nn

from qvlm import __version__, machine
from qvlm.analysis.links import study_links
from qvlm.analysis.quality import Judge
from qvlm.analysis.ranges import channel_ranges
from qvlm.analysis.study import LANGUAGE, Searched, Study
from qvlm.analysis.sweeps import (
    Variant,
    depth_recipe,
    optimizes_vision,
    parse_sweeps,
    variants,
)
from qvlm.artefacts import Dependency
from qvlm.artefacts.analysis import (
    Analysis,
    AnalysisSample,
    LayerErrors,
    SearchPoint,
)
from qvlm.artefacts.store import atomic_directory, write_json
from qvlm.data import Sample, choose, open_source, split_guard
from qvlm.data.batches import calibration_batches
from qvlm.errors import DataError, RecipeError
from qvlm.evaluation import HuggingFaceGenerator
from qvlm.evaluation import evaluate as score
from qvlm.evaluation.tasks import load_task
from qvlm.models import LoadedModel, describe, load_model
from qvlm.pipeline.dependency import measure_dependency
from qvlm.pipeline.progress import Progress, prefixed, silent
from qvlm.pipeline.quantize import CALIBRATION_SPLIT
from qvlm.report.analysis import write_page, write_tables
from qvlm.schemes import Recipe, load_recipe

HELD_OUT_SPLIT = "val"
ERROR_DEPTHS = (1, 2, 3)
DEFAULT_SWEEPS = "depth,percentiles,eta"


def analyze(
    model: str | Path,
    output: str | Path,
    recipe: str | Path | Recipe = "w4a4",
    calibration: str = "picoscience",
    *,
    sweeps: str = DEFAULT_SWEEPS,
    held_out: int = 200,
    task: str | None = None,
    overrides: Sequence[str] = (),
    overwrite: bool = False,
    trust_remote_code: bool = False,
    progress: Progress = silent,
) -> Analysis:
    """Analyzes a model under a recipe; writes `analysis.json`, CSV tables, plots and a page.

    Searches on the samples that `quantize` would search on, without its guard: layer by layer
    and jointly, at depth 1 to 3, and at every point of the sweeps. Quality is judged on other
    samples: of the split `val`, or where there is none of the training samples left over.

    Args:
        model: as in `quantize`.
        output: directory to create.
        recipe: preset name, YAML file or Recipe.
        calibration: data source of samples, as in `quantize`.
        sweeps: `none`, or some of `depth`, `percentiles` and `eta`, with commas.
        held_out: most samples that judge the quality.
        task: also generate answers to these and score them by this task's rules.
        overrides: `field=value` changes of the recipe.
        overwrite: replace an existing output.
        trust_remote_code: run Python code that comes with the model.
        progress: told how far it is.

    Raises:
        QvlmError: something in the input is wrong; nothing is written then.
    """
    begin = time.perf_counter()
    settings = load_recipe(recipe, overrides)
    wanted = parse_sweeps(sweeps)
    _check(settings)
    if task is not None:
        load_task(task)
    notes: list[str] = []
    if "eta" in wanted and not optimizes_vision(settings):
        notes.append("no sweep over eta: the recipe does not optimize the vision tower")
    with atomic_directory(Path(output), overwrite=overwrite) as work:
        torch.manual_seed(settings.seed)
        progress("load", 0, 1)
        loaded = load_model(model, trust_remote_code=trust_remote_code)
        model_map = describe(loaded.model, settings)
        samples, judged_by = _samples(calibration, settings, held_out, notes)
        size, pixels = settings.calibration.batch_size, settings.calibration.max_image_pixels
        batches = calibration_batches(samples, loaded.processor, size, pixels)
        held_batches = calibration_batches(judged_by, loaded.processor, size, pixels)
        progress("load", 1, 1)
        generated = None if task is None else _generated(loaded, judged_by, task, progress)
        judge = Judge(loaded.model, held_batches, generated)
        full_precision = judge(loaded.model)
        ranges = channel_ranges(loaded.model, model_map, batches, partial(progress, "ranges"))
        study = Study(loaded.model, model_map, batches, judge, measure_dependency)
        points = variants(settings, wanted)
        found = _Searches(study, progress)
        layerwise = found(depth_recipe(settings, 1), "layer-wise")
        joint = found(settings, "joint")
        start = found(load_recipe(settings, ("search.strategy=none",)), "start")
        depths = {d: found(depth_recipe(settings, d), f"depth {d}") for d in ERROR_DEPTHS}
        tower = model_map.tower(LANGUAGE)
        proxies = _proxies(study, settings, progress)
        ded = [
            tuple(a - b for a, b in zip(*rows, strict=True))
            for rows in zip(layerwise.errors, joint.errors, strict=True)
        ]
        installer = study.installer(settings, progress)
        links = study_links(installer, tower, batches, ded, partial(progress, "links"))
        if not links:
            notes.append("no scatter plots: the language model has a single layer")
        analysis = Analysis(
            qvlm_version=__version__,
            model=str(model),
            architecture=model_map.architecture,
            recipe=settings.model_dump(mode="json"),
            calibration_source=calibration,
            samples=tuple(
                AnalysisSample(key=s.key, has_image=s.image is not None) for s in samples
            ),
            held_out=f"{calibration}, split {judged_by[0].split}",
            held_out_ids=tuple(sample.key for sample in judged_by),
            full_precision=full_precision,
            start=start.quality,
            layerwise_errors=layerwise.errors,
            joint_errors=joint.errors,
            blocks=_language_blocks(joint),
            entropy=proxies["entropy"].towers[LANGUAGE],
            quantization_error=proxies["quantization_error"].towers[LANGUAGE],
            proxy_seconds={name: proxy.seconds for name, proxy in proxies.items()},
            proxy_forward_equivalents={
                name: proxy.forward_equivalents for name, proxy in proxies.items()
            },
            links=links,
            depth_errors=tuple(
                LayerErrors(depth=depth, errors=tuple(sum(row) / len(row) for row in run.errors))
                for depth, run in depths.items()
            ),
            points=tuple(
                _point(variant, found(variant.recipe, f"{variant.sweep} {variant.value:g}"))
                for variant in points
            ),
            ranges=ranges,
            notes=tuple(notes),
            seconds=time.perf_counter() - begin,
            versions=machine.versions(),
            machine=machine.description(),
        )
        progress("report", 0, 1)
        write_json(work / "analysis.json", analysis)
        write_tables(work, analysis)
        write_page(work, analysis)
        progress("report", 1, 1)
    return analysis


class _Searches:
    """Searches by a recipe under a name for the progress."""

    def __init__(self, study: Study, progress: Progress) -> None:
        self._study = study
        self._progress = progress

    def __call__(self, recipe: Recipe, name: str) -> Searched:
        return self._study.searched(recipe, prefixed(self._progress, name))


def _check(recipe: Recipe) -> None:
    """Raises RecipeError where joint and layer-wise search could not differ."""
    if recipe.search.strategy == "none":
        raise RecipeError("search.strategy is none, so there is no search to analyze: set another")
    if recipe.partition.proxy == "single_layer" or recipe.partition.depth < 2:
        raise RecipeError(
            "the recipe searches layer by layer, so there is no joint search to compare with: "
            "set partition.proxy=entropy and partition.depth=3"
        )
    if recipe.language is None or not recipe.language.activations.is_static:
        raise RecipeError(
            "the language model's activations have no static ranges, so there is nothing to "
            "search: set language.activations.granularity=per_channel and fewer than 16 bits"
        )


def _samples(
    spec: str, recipe: Recipe, count: int, notes: list[str]
) -> tuple[list[Sample], list[Sample]]:
    """Samples to search on, in the order of their batches, and samples that judge the outcome."""
    train = open_source(spec, CALIBRATION_SPLIT)
    chosen = choose(train, recipe.calibration.samples, recipe.seed)
    used, _ = split_guard(chosen, recipe.calibration.guard_fraction, recipe.seed)
    used.sort(key=lambda sample: sample.image is None)
    candidates = train
    with suppress(DataError):
        candidates = open_source(spec, HELD_OUT_SPLIT)
    if candidates is train:
        notes.append(f"'{spec}' has no usable split '{HELD_OUT_SPLIT}': judged on training samples")
    calibrated = {sample.fingerprint for sample in chosen}
    free = [sample for sample in candidates if sample.fingerprint not in calibrated]
    if not free:
        raise DataError(
            f"'{spec}' has no split '{HELD_OUT_SPLIT}', and every training sample is calibrated "
            "on: set calibration.samples lower, so that some are left to judge the quality"
        )
    if len(free) < count:
        notes.append(f"judged on {len(free)} held-out samples: there are no more")
    return used, choose(free, min(count, len(free)), recipe.seed)


def _generated(
    loaded: LoadedModel, samples: list[Sample], task: str, progress: Progress
) -> Callable[[nn.Module], float]:
    """Scores the answers that a model generates."""

    def accuracy(model: nn.Module) -> float:
        scores = score(
            HuggingFaceGenerator(model, loaded.processor),
            samples,
            task=task,
            model_fingerprint="in memory",
            progress=partial(progress, "generate"),
        )
        return scores.overall.accuracy or 0.0

    return accuracy


def _proxies(study: Study, recipe: Recipe, progress: Progress) -> dict[str, Dependency]:
    """Both dependencies of the model, by the name of their proxy."""
    found = {}
    for proxy in ("entropy", "quantization_error"):
        changed = load_recipe(recipe, (f"partition.proxy={proxy}",))
        installer = study.installer(changed, prefixed(progress, proxy))
        found[proxy] = measure_dependency(installer, study.batches, partial(progress, proxy))
    return found


def _point(variant: Variant, searched: Searched) -> SearchPoint:
    return SearchPoint(
        sweep=variant.sweep,
        value=variant.value,
        overrides=variant.overrides,
        blocks=sum(len(tower.blocks) for tower in searched.plan.towers),
        forward_equivalents=searched.clips.forward_equivalents,
        seconds=searched.clips.seconds,
        quality=searched.quality,
    )


def _language_blocks(searched: Searched) -> tuple[tuple[int, int], ...]:
    (tower,) = [plan for plan in searched.plan.towers if plan.tower == LANGUAGE]
    return tuple((block.start, block.stop) for block in tower.blocks)
