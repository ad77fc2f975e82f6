"""Analyze a model: what joint search gains, what foretells it, where the outliers are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from qvlm import __version__, machine
from qvlm.analysis.quality import Judge
from qvlm.analysis.ranges import channel_ranges
from qvlm.analysis.study import Study
from qvlm.analysis.sweeps import Sweep, optimizes_vision, parse_sweeps
from qvlm.artefacts.analysis import Analysis, AnalysisSample
from qvlm.artefacts.store import atomic_directory, write_json
from qvlm.errors import RecipeError
from qvlm.evaluation.tasks import load_task
from qvlm.models import describe, load_model
from qvlm.models.place import repeatable
from qvlm.pipeline.dependency import measure_dependency
from qvlm.pipeline.heldout import AnalysisSamples, analysis_samples, generated_accuracy
from qvlm.pipeline.notes import distinct, recorded_warnings
from qvlm.pipeline.optimized import OptimizedTowers
from qvlm.pipeline.progress import Progress, silent
from qvlm.pipeline.samples import sample_batches
from qvlm.pipeline.searches import Searches
from qvlm.report.analysis import write_page, write_tables
from qvlm.runtime.kernels import gpu
from qvlm.schemes import Recipe, load_recipe

DEFAULT_SWEEPS = "depth,percentiles,eta"


def analyze(
    model: str | Path,
    output: str | Path,
    recipe: str | Path | Recipe = "w4a4-static",
    calibration: str = "picoscience",
    *,
    sweeps: str = DEFAULT_SWEEPS,
    held_out: int = 200,
    task: str | None = None,
    overrides: Sequence[str] = (),
    overwrite: bool = False,
    device: str = "cpu",
    trust_remote_code: bool = False,
    progress: Progress = silent,
) -> Analysis:
    """Analyzes a model under a recipe; writes `analysis.json`, CSV tables, plots and a page.

    Searches on the samples that `quantize` would search on, without its guard: layer by layer
    and jointly, at depth 1 to 3, and at every point of the sweeps. A recipe that does not search
    is analyzed as if it did, coordinate by coordinate from the lp start, and a note says so.
    Quality is judged on other samples: of the split `val`, or where there is none of the training
    samples left over.

    Args:
        model: as in `quantize`.
        output: directory to create.
        recipe: preset name, YAML file or Recipe.
        calibration: data source of samples, as in `quantize`.
        sweeps: `none`, or some of `depth`, `fixed`, `percentiles` and `eta`, with commas.
        held_out: most samples that judge the quality.
        task: also generate answers to these and score them by this task's rules.
        overrides: `field=value` changes of the recipe.
        overwrite: replace an existing output.
        device: as in `quantize`.
        trust_remote_code: run Python code that comes with the model.
        progress: told how far it is.

    Raises:
        QvlmError: something in the input is wrong; nothing is written then.
    """
    begin = time.perf_counter()
    asked = load_recipe(recipe, overrides)
    settings = _searching(asked)
    wanted = parse_sweeps(sweeps)
    _check(settings)
    if task is not None:
        load_task(task)
    place = gpu.usable_device(device)
    with (
        recorded_warnings() as caught,
        repeatable(place),
        atomic_directory(Path(output), overwrite=overwrite) as work,
    ):
        torch.manual_seed(settings.seed)
        progress("load", 0, 1)
        samples = analysis_samples(calibration, settings, held_out)
        loaded = load_model(
            model,
            adapter=settings.adapter,
            trust_remote_code=trust_remote_code,
            device=place,
            report=partial(progress, "download MiB"),
        )
        model_map = describe(loaded.model, settings)
        batches = sample_batches(samples.searched, loaded, settings)
        held_batches = sample_batches(samples.held_out, loaded, settings)
        progress("load", 1, 1)
        generated = None
        if task is not None:
            generated = generated_accuracy(loaded.processor, samples.held_out, task, progress)
        judge = Judge(loaded.model, held_batches, generated)
        full_precision = judge(loaded.model)
        ranges = channel_ranges(loaded.model, model_map, batches, partial(progress, "ranges"))
        towers = OptimizedTowers(loaded, model_map, samples.searched, batches)
        study = Study(loaded.model, model_map, batches, judge, measure_dependency, towers)
        has_image = tuple(sample.image is not None for sample in samples.searched)
        searches = Searches(study, settings, has_image, progress)
        analysis = Analysis(
            qvlm_version=__version__,
            model=str(model),
            architecture=model_map.architecture,
            recipe=settings.model_dump(mode="json"),
            calibration_source=calibration,
            samples=tuple(
                AnalysisSample(key=sample.key, has_image=image)
                for sample, image in zip(samples.searched, has_image, strict=True)
            ),
            held_out=f"{calibration}, split {samples.held_out[0].split}",
            held_out_ids=tuple(sample.key for sample in samples.held_out),
            full_precision=full_precision,
            **searches.comparison(),
            **searches.proxies(),
            depth_errors=searches.depth_errors(),
            points=searches.points(wanted),
            ranges=ranges,
            notes=(*_notes(asked, wanted, samples), *distinct(caught)),
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


def _searching(recipe: Recipe) -> Recipe:
    """The recipe with a search, should it have none: that is what an analysis looks at."""
    if recipe.search.strategy != "none":
        return recipe
    search = recipe.search.model_copy(update={"strategy": "coordinate", "start": "lp"})
    return recipe.model_copy(update={"search": search})


def _check(recipe: Recipe) -> None:
    """Raises RecipeError where joint and layer-wise search could not differ."""
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


def _notes(recipe: Recipe, sweeps: Sequence[Sweep], samples: AnalysisSamples) -> tuple[str, ...]:
    notes = list(samples.notes)
    if recipe.search.strategy == "none":
        notes.append("the recipe does not search: analyzed with coordinate searches from lp starts")
    if "eta" in sweeps and not optimizes_vision(recipe):
        notes.append("no sweep over eta: the recipe does not optimize the vision tower")
    if optimizes_vision(recipe):
        notes.append("errors are to the optimized tower in full precision, quality to the original")
    schemes = (recipe.vision, recipe.projector, recipe.language, recipe.lm_head)
    if any(scheme is not None and scheme.weights.rounding == "gptq" for scheme in schemes):
        notes.append("weights are rounded to nearest here: searches see no other, gptq comes after")
    return tuple(notes)
