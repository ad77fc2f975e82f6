"""The stages in order: load, describe, calibrate, observe, partition, search, round, pack, export.

Where the recipe asks for it, the vision tower is optimized before the search, and the model
observed and partitioned again.

Data flows one way, artefact by artefact; no stage knows another.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from qvlm.artefacts import BlockPlan, ClipPlan, Dependency, ModelMap
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.result import Result, Sizes, StageCost
from qvlm.artefacts.rounding import RoundingOutcome
from qvlm.artefacts.statistics import ActivationStats
from qvlm.artefacts.steps import Steps
from qvlm.artefacts.store import write_json
from qvlm.artefacts.tensors import write_stats
from qvlm.artefacts.workspace import workspace
from qvlm.export.checkpoint import write_checkpoint
from qvlm.export.pack import Packed
from qvlm.models import LoadedModel, describe, load_model
from qvlm.observe import observe
from qvlm.partition import plan_blocks
from qvlm.pipeline.costs import Costs
from qvlm.pipeline.dependency import measure_dependency
from qvlm.pipeline.ingredients import ingredients_of, request_of
from qvlm.pipeline.needs import Work, check_memory, resident_bytes
from qvlm.pipeline.notes import distinct, recorded_warnings
from qvlm.pipeline.pack import pack_layers
from qvlm.pipeline.progress import Progress, silent
from qvlm.pipeline.runnable import check_runnable
from qvlm.pipeline.samples import calibration_samples, sample_batches
from qvlm.pipeline.streaming import check_streamable
from qvlm.pipeline.vision import train_vision, write_vision
from qvlm.schemes import Recipe, dump_recipe, load_recipe
from qvlm.search import Installer, round_model, rounded_towers, search, unsearched

ARTEFACTS = "artefacts"
"""Folder, in a run directory, of what each stage made."""


def quantize(
    model: str | Path,
    recipe: str | Path | Recipe = "w4a4",
    calibration: str = "picoscience",
    output: str | Path | None = None,
    *,
    overrides: Sequence[str] = (),
    overwrite: bool = False,
    resume: bool = False,
    memory: int | None = None,
    allow_fallback: bool = False,
    trust_remote_code: bool = False,
    progress: Progress = silent,
) -> Result:
    """Quantizes an LVLM and writes a run directory that `qvlm.load` reads.

    What is finished is kept in OUTPUT.partial until the output is complete; `qvlm.resume` goes on
    from there after the process was killed.

    Args:
        model: `pico-llava`, a directory or a hub id.
        recipe: preset name, YAML file or Recipe.
        calibration: data source of samples, `picoscience`, `smolqa` or `NAME:PATH` with a name
            of `qvlm.data.sources.SOURCES`; its training split is used.
        output: directory to create; by default MODEL-RECIPE in the current directory.
        overrides: `field=value` changes of the recipe.
        overwrite: replace an existing output, and drop what an interrupted run finished.
        resume: go on with an interrupted run of the same output.
        memory: bytes that the run may use; layers then stay on disk until they are used. The
            written bytes are the same. None loads the model whole.
        allow_fallback: warn of layers that no kernel will run, instead of raising.
        trust_remote_code: run Python code that comes with the model.
        progress: told how far each stage is.

    Raises:
        QvlmError: something in the input is wrong; nothing is written then.
        ResumeError: something that decides the outcome is not what the interrupted run began with.
    """
    settings = load_recipe(recipe, overrides)
    if memory is not None:
        check_streamable(settings, "leave out --memory")
    target = Path(output) if output is not None else default_output(model, settings.name)
    run, base = Costs(progress), resident_bytes()
    with (
        recorded_warnings() as caught,
        workspace(target, overwrite=overwrite, resume=resume) as work,
    ):
        steps = work.steps
        torch.manual_seed(settings.seed)
        with run.timed("load"):
            loaded = load_model(
                model,
                adapter=settings.adapter,
                trust_remote_code=trust_remote_code,
                streamed=memory is not None,
            )
            model_map = describe(loaded.model, settings)
            check_runnable(loaded.model, model_map, settings, allow_fallback=allow_fallback)
            used, guard = calibration_samples(calibration, settings)
            batches = sample_batches(used, loaded, settings)
            guard_batches = sample_batches(guard, loaded, settings) if guard else []
            if memory is not None:
                check_memory(Work(loaded.model, model_map, settings, batches), memory, base)
            options = {
                "overwrite": overwrite,
                "memory": memory,
                "allow_fallback": allow_fallback,
                "trust_remote_code": trust_remote_code,
            }
            work.agree(
                request_of(model, settings, calibration, options),
                ingredients_of(
                    loaded.directory, settings, {"calibration": batches, "guard": guard_batches}
                ),
            )
        look = partial(_look, loaded, model_map, settings, batches, run, steps)
        stats, dependency = look("observe")
        plan = _partition(model_map, settings, dependency, run)
        vision = None
        if settings.vision_optimization is not None:
            vision, stats, dependency, plan = train_vision(
                loaded, model_map, settings, used, stats, plan, look, steps, progress
            )
            run.add("vision", vision.plan.training)
        installer = Installer(loaded.model, model_map, settings, stats)
        clips = _search(installer, plan, batches, guard_batches, run, steps)
        rounding = _round(installer, clips, batches, guard_batches, run, steps)
        with run.timed("export"):
            installer.restore()
            packed = pack_layers(installer, clips, rounding, steps)
            output_directory = work.output()
            checkpoint_bytes = write_checkpoint(
                output_directory, loaded.directory, loaded.model, packed.tensors, packed.index
            )
            _write_artefacts(output_directory, settings, stats, dependency, plan, clips, rounding)
            if vision is not None:
                write_vision(output_directory / ARTEFACTS, vision)
        result = Result(
            model=str(model),
            recipe=settings.model_dump(mode="json"),
            calibration_source=calibration,
            calibration_ids=tuple(sample.key for sample in used),
            guard_ids=tuple(sample.key for sample in guard),
            sample_fingerprints=tuple(sample.fingerprint for sample in (*used, *guard)),
            seed=settings.seed,
            skipped=model_map.skipped,
            sparse_experts=_sparse_experts(model_map, stats, settings),
            blocks=plan,
            guard=clips.guard,
            rounding=rounding,
            vision=None if vision is None else vision.plan,
            resumed_steps=steps.recalled,
            warnings=distinct(caught),
            **run.facts(),
            **facts_of(packed, checkpoint_bytes),
        )
        write_json(output_directory / "result.json", result)
        work.publish()
    return result


def default_output(model: str | Path, recipe: str) -> Path:
    """The run directory of a model and a recipe where none is named: MODEL-RECIPE."""
    return Path(f"{Path(model).name}-{Path(recipe).stem}")


def facts_of(packed: Packed, checkpoint_bytes: int) -> dict[str, Any]:
    """The result's fields on what was written."""
    return {
        "qvlm_version": packed.index.qvlm_version,
        "architecture": packed.index.architecture,
        "layers": packed.bits,
        "sizes": Sizes(
            quantized_bytes=packed.quantized_bytes,
            float32_bytes=packed.float32_bytes,
            checkpoint_bytes=checkpoint_bytes,
        ),
    }


def _look(
    loaded: LoadedModel,
    model_map: ModelMap,
    recipe: Recipe,
    batches: list[Batch],
    run: Costs,
    steps: Steps,
    name: str,
) -> tuple[ActivationStats, Dependency]:
    """Observes the model and measures its dependency by the recipe's proxy."""
    tell = partial(run.progress, "observe")
    stats = observe(loaded.model, model_map, recipe, batches, tell, steps, name)
    # The entropy is collected while observing; its seconds are the dependency's.
    seconds = stats.seconds - stats.entropy_seconds
    observed = StageCost(seconds=seconds, forward_equivalents=stats.forward_equivalents)
    run.add("observe", observed)
    installer = Installer(loaded.model, model_map, recipe, stats)
    dependency = measure_dependency(installer, batches, partial(run.progress, "dependency"))
    run.add("dependency", dependency)
    return stats, dependency


def _partition(
    model_map: ModelMap, recipe: Recipe, dependency: Dependency, run: Costs
) -> BlockPlan:
    start = time.perf_counter()
    plan = plan_blocks(model_map.quantized_layers, dependency.towers, recipe.partition)
    run.stages["partition"] = StageCost(seconds=time.perf_counter() - start)
    return plan


def _search(
    installer: Installer,
    plan: BlockPlan,
    batches: list[Batch],
    guard_batches: list[Batch],
    run: Costs,
    steps: Steps,
) -> ClipPlan:
    if installer.recipe.search.strategy == "none":
        clips = unsearched(installer)
        run.add("search", clips)
        return clips
    tell = partial(run.progress, "search")
    clips = search(installer, plan, batches, guard_batches, tell, steps)
    run.add("search", clips)
    return clips


def _round(
    installer: Installer,
    clips: ClipPlan,
    batches: list[Batch],
    guard_batches: list[Batch],
    run: Costs,
    steps: Steps,
) -> RoundingOutcome | None:
    """Rounds all weights; returns what rounding to second order did, where there was some."""
    tell = partial(run.progress, "round")
    outcome = round_model(installer, clips, batches, guard_batches, tell, steps)
    run.stages["round"] = StageCost(
        seconds=outcome.seconds, forward_equivalents=outcome.forward_equivalents
    )
    return outcome if rounded_towers(installer) else None


def _sparse_experts(model_map: ModelMap, stats: ActivationStats, recipe: Recipe) -> dict[str, int]:
    """Sites of experts that share their layer's range, with the tokens that they saw."""
    return {
        site.name: stats.sites[site.name].tokens
        for site in model_map.sites
        if site.expert is not None
        and site.name in stats.sites
        and stats.sites[site.name].tokens < recipe.calibration.expert_tokens
    }


def _write_artefacts(
    work: Path,
    recipe: Recipe,
    stats: ActivationStats,
    dependency: Dependency,
    plan: BlockPlan,
    clips: ClipPlan,
    rounding: RoundingOutcome | None,
) -> None:
    """Writes the outcome of every stage beside the checkpoint."""
    (work / "recipe.yaml").write_text(dump_recipe(recipe), encoding="utf-8")
    folder = work / ARTEFACTS
    folder.mkdir()
    write_stats(folder / "statistics.safetensors", stats)
    write_json(folder / "dependency.json", dependency)
    write_json(folder / "blocks.json", plan)
    write_json(folder / "clipping.json", clips)
    if rounding is not None:
        write_json(folder / "rounding.json", rounding)
