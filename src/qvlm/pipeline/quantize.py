"""The stages in order: load, describe, calibrate, observe, partition, search, round, pack, export.

Where the recipe asks for it, the vision tower is optimized before the search, and the model
observed and partitioned again.

Data flows one way, artefact by artefact; no stage knows another.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from qvlm import machine
from qvlm.artefacts.exported import NATIVE, STANDARD
from qvlm.artefacts.result import Result
from qvlm.artefacts.store import write_json
from qvlm.artefacts.workspace import workspace
from qvlm.models import describe, load_model
from qvlm.models.embeddings import round_embeddings
from qvlm.models.hub import commit_of
from qvlm.models.place import repeatable
from qvlm.pipeline.budget import check_memory, settle_memory, warn_of_excess
from qvlm.pipeline.costs import Costs
from qvlm.pipeline.export import RUN, check_exportable, check_format, export_into
from qvlm.pipeline.finish import Outcome, write_run
from qvlm.pipeline.ingredients import ingredients_of, request_of
from qvlm.pipeline.needs import Work, resident_bytes
from qvlm.pipeline.notes import distinct, recorded_warnings
from qvlm.pipeline.progress import Progress, silent
from qvlm.pipeline.runnable import check_runnable
from qvlm.pipeline.samples import calibration_samples, sample_batches
from qvlm.pipeline.stages import choose_clips, look, partition, round_weights
from qvlm.pipeline.streaming import check_streamable
from qvlm.pipeline.vision import train_vision
from qvlm.processes import own_device
from qvlm.runtime.kernels import gpu
from qvlm.schemes import Recipe, load_recipe
from qvlm.search import Installer
from qvlm.workers import joined_workers


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
    device: str = "cpu",
    format: str = NATIVE,  # noqa: A002 - the word that users type
    allow_fallback: bool = False,
    trust_remote_code: bool = False,
    progress: Progress = silent,
) -> Result:
    """Quantizes an LVLM and writes a run directory that `qvlm.load` reads.

    What is finished is kept in OUTPUT.partial until the output is complete; `qvlm.resume` goes on
    from there after the process was killed. Under `torchrun` the processes share the samples, and
    the written bytes are those of one process.

    Args:
        model: `pico-llava`, a directory, or `org/name` or `org/name@revision` of the hub.
        recipe: preset name, YAML file or Recipe.
        calibration: data source of samples, `picoscience`, `smolqa` or `NAME:PATH` with a name
            of `qvlm.data.sources.SOURCES`; its training split is used.
        output: directory to create; by default MODEL-RECIPE in the current directory.
        overrides: `field=value` changes of the recipe.
        overwrite: replace an existing output, and drop what an interrupted run finished.
        resume: go on with an interrupted run of the same output.
        memory: bytes that the run may use; layers then stay on disk until they are used. The
            written bytes are the same. None loads the model whole. Each of several processes may
            use as much.
        device: `cpu`, or `cuda` for an NVIDIA GPU; of several processes each takes its own. The
            calibration runs there; sums of floats have other last bits there than on a CPU.
        format: `qvlm`, or `compressed-tensors` for Transformers and vLLM; the run itself then
            lies in the folder `run` of the output.
        allow_fallback: warn of layers that no kernel will run, instead of raising.
        trust_remote_code: run Python code that comes with the model.
        progress: told how far each stage is.

    Raises:
        QvlmError: something in the input is wrong; nothing is written then.
        ExportError: the format is unknown, or cannot say what was quantized.
        ResumeError: something that decides the outcome is not what the interrupted run began with.
    """
    check_format(format)
    settings = load_recipe(recipe, overrides)
    if format == STANDARD:
        check_exportable(model, settings, trust_remote_code)
    if memory is not None:
        check_streamable(settings, "leave out --memory")
        machine.keep_no_freed_memory()
    place = gpu.usable_device(own_device(device))
    target = Path(output) if output is not None else default_output(model, settings.name)
    base, before = resident_bytes(), machine.peak_rss_bytes()
    with (
        recorded_warnings() as caught,
        repeatable(place),
        joined_workers(place) as workers,
        workspace(target, overwrite=overwrite, resume=resume, workers=workers) as work,
    ):
        run = Costs(progress if workers.first else silent)
        steps = work.steps
        torch.manual_seed(settings.seed)
        with run.timed("load"):
            loaded = load_model(
                model,
                adapter=settings.adapter,
                trust_remote_code=trust_remote_code,
                streamed=memory is not None,
                device=place,
                report=partial(run.progress, "download MiB"),
            )
            model_map = describe(loaded.model, settings)
            check_runnable(loaded.model, model_map, settings, allow_fallback=allow_fallback)
            table = None
            if model_map.embeddings is not None:
                table = round_embeddings(loaded.model, model_map.embeddings, settings)
            used, guard = calibration_samples(calibration, settings)
            batches = sample_batches(used, loaded, settings)
            guard_batches = sample_batches(guard, loaded, settings) if guard else []
            if memory is not None:
                shapes = Work(loaded.model, model_map, settings, batches, streamed=True)
                check_memory(shapes, memory, base)
                settle_memory(shapes, memory, base)
            options = {
                "overwrite": overwrite,
                "memory": memory,
                "device": device,
                "format": format,
                "allow_fallback": allow_fallback,
                "trust_remote_code": trust_remote_code,
            }
            data = {"calibration": batches, "guard": guard_batches}
            workers.lead(
                lambda: work.agree(
                    request_of(model, settings, calibration, options),
                    ingredients_of(loaded.directory, settings, data),
                )
            )
        observed = partial(look, loaded, model_map, settings, batches, run, steps, workers)
        stats, dependency = observed("observe")
        plan = partition(model_map, settings, dependency, run)
        vision = None
        if settings.vision_optimization is not None:
            vision, stats, dependency, plan = train_vision(
                loaded, model_map, settings, used, stats, plan, observed, steps, run.progress
            )
            run.add("vision", vision.plan.training)
        installer = Installer(loaded.model, model_map, settings, stats)
        clips = choose_clips(installer, plan, batches, guard_batches, run, steps, workers)
        rounding = round_weights(installer, clips, batches, guard_batches, run, steps, workers)
        outcome = Outcome(stats, dependency, plan, clips, rounding, vision, table)
        peak = max(workers.join({workers.rank: machine.peak_rss_bytes()}))

        def finish() -> str:
            directory = work.output()
            native = directory if format == NATIVE else directory / RUN
            native.mkdir(exist_ok=True)
            with run.timed("export"):
                written = write_run(native, loaded, installer, outcome, steps)
            largest = max(peak, machine.peak_rss_bytes())
            if memory is not None and largest > before:
                warn_of_excess(largest, memory)
            result = Result(
                model=str(model),
                commit=commit_of(loaded.directory),
                recipe=settings.model_dump(mode="json"),
                calibration_source=calibration,
                calibration_ids=tuple(sample.key for sample in used),
                guard_ids=tuple(sample.key for sample in guard),
                sample_fingerprints=tuple(sample.fingerprint for sample in (*used, *guard)),
                seed=settings.seed,
                skipped=model_map.skipped,
                resumed_steps=steps.recalled,
                processes=workers.count,
                device=gpu.name_of(place),
                warnings=distinct(caught),
                **run.facts(largest),
                **written,
            )
            write_json(native / "result.json", result)
            if format == STANDARD:
                export_into(directory, native)
            work.publish()
            return result.model_dump_json()

        return Result.model_validate_json(workers.lead(finish))


def default_output(model: str | Path, recipe: str) -> Path:
    """The run directory of a model and a recipe where none is named: MODEL-RECIPE."""
    return Path(f"{Path(model).name}-{Path(recipe).stem}")
