"""Measure speed and memory of models side by side, each in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from qvlm import __version__, machine
from qvlm.artefacts.result import Result, bits_text
from qvlm.artefacts.speed import Form, Speed, SpeedReport
from qvlm.artefacts.store import atomic_directory, read_json, write_json
from qvlm.data import Sample, open_source
from qvlm.errors import DataError, QvlmError
from qvlm.evaluation.speed import time_answers, weight_bytes
from qvlm.export.standard.read import is_standard, read_standard
from qvlm.models.locate import locate
from qvlm.pipeline.load import load
from qvlm.pipeline.progress import Progress, silent
from qvlm.report import to_markdown
from qvlm.report.speed import draw_speed, speed_table
from qvlm.runtime.load import is_quantized

FLOATING: tuple[Form, ...] = ("float32", "bfloat16")
QUANTIZED: tuple[Form, ...] = ("simulated", "integer")
FORMS = (*FLOATING, *QUANTIZED)


def bench(
    models: Sequence[str | Path],
    output: str | Path | None = None,
    *,
    data: str = "picoscience",
    split: str = "val",
    new_tokens: int = 32,
    repeat: int = 5,
    forms: Sequence[Form] = FORMS,
    adapter: str = "auto",
    allow_fallback: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> SpeedReport:
    """Times the answer to one image question: first token, decoding; memory of weights, peak.

    Args:
        models: full-precision models, which run in float32 and bfloat16, and run directories of
            `quantize`, which run simulated and in integers; compressed-tensors checkpoints run
            simulated, by Transformers.
        output: directory for `speed.json`, `speed.md` and plots; None writes nothing.
        data: source of the question; its first sample with an image is asked.
        split: which of its splits.
        new_tokens: length of the answer.
        repeat: timed rounds.
        forms: of `FORMS`, which to run.
        adapter, allow_fallback: as in `load`.
        overwrite: replace an existing output.
        progress: told which model runs.

    Raises:
        QvlmError: a model or the data cannot be read, or no form fits a model.
    """
    if new_tokens < 2:
        raise QvlmError(f"{new_tokens} new tokens leave nothing to decode: ask for 2 or more")
    contenders = list(_contenders(models, forms, progress))
    sample = _question(data, split)
    with _output(output, overwrite) as work:
        rows = []
        for done, (model, directory, form) in enumerate(contenders):
            progress(f"bench {Path(model).name} {form}", done, len(contenders))
            measured = (sample, new_tokens, repeat, adapter, allow_fallback)
            rows.append(_in_own_process(model, directory, form, *measured))
        progress("bench", len(contenders), len(contenders))
        report = SpeedReport(
            qvlm_version=__version__,
            question=f"{data}, {sample.key}",
            repeat=repeat,
            rows=tuple(rows),
            versions=machine.versions(),
            machine=machine.description(),
        )
        if work is not None:
            write_json(work / "speed.json", report)
            (work / "speed.md").write_text(to_markdown(speed_table(report)), encoding="utf-8")
            draw_speed(work, report)
    return report


def _output(output: str | Path | None, overwrite: bool) -> AbstractContextManager[Path | None]:
    """Where to write; what cannot be written is said before anything is measured."""
    return nullcontext() if output is None else atomic_directory(Path(output), overwrite=overwrite)


def _contenders(
    models: Sequence[str | Path], forms: Sequence[Form], progress: Progress
) -> Iterator[tuple[str, Path, Form]]:
    """Yields what a model is called, its directory and a form in which it will run."""
    for model in models:
        directory = locate(model, report=partial(progress, "download MiB"))
        fitting = _forms_of(directory)
        chosen = [form for form in fitting if form in forms]
        if not chosen:
            raise QvlmError(f"'{model}' runs in {' or '.join(fitting)}: none of these is asked for")
        for form in chosen:
            yield str(model), directory, form


def _forms_of(path: Path) -> tuple[Form, ...]:
    """In what a model can run; compressed-tensors through Transformers, which simulates."""
    if is_standard(path):
        return ("simulated",)
    return QUANTIZED if is_quantized(path) else FLOATING


def _question(data: str, split: str) -> Sample:
    found = next((sample for sample in open_source(data, split) if sample.image is not None), None)
    if found is None:
        raise DataError(f"'{data}' has no question with an image in its split '{split}'")
    return found


def _in_own_process(
    model: str,
    directory: Path,
    form: Form,
    sample: Sample,
    new_tokens: int,
    repeat: int,
    adapter: str,
    allow_fallback: bool,
) -> Speed:
    """A fresh process, so that peak memory is that of one model.

    Raises:
        RuntimeError: the process was killed.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            measured = (sample, new_tokens, repeat, adapter, allow_fallback)
            return pool.submit(_measure, model, directory, form, *measured).result()
        except BrokenProcessPool as error:
            raise RuntimeError(
                f"the process that ran '{model}' in {form} was killed: is there memory enough?"
            ) from error


def _measure(
    model: str,
    directory: Path,
    form: Form,
    sample: Sample,
    new_tokens: int,
    repeat: int,
    adapter: str,
    allow_fallback: bool,
) -> Speed:
    import torch

    torch.set_flush_denormal(True)
    begin = time.perf_counter()
    loaded, processor = _loaded(directory, form, adapter, allow_fallback)
    load_seconds = time.perf_counter() - begin
    timings = time_answers(loaded, processor, sample, new_tokens, repeat)
    return Speed(
        model=model,
        form=form,
        scheme=_scheme(directory) if form in QUANTIZED else "FP",
        load_seconds=load_seconds,
        weight_bytes=weight_bytes(loaded),
        peak_rss_bytes=machine.peak_rss_bytes(),
        prompt_tokens=timings.prompt_tokens,
        image_tokens=timings.image_tokens,
        new_tokens=new_tokens,
        first_token_seconds=timings.first_token,
        answer_seconds=timings.answer,
    )


def _scheme(run: Path) -> str:
    if is_standard(run):
        bits = [(layer.weight_bits, layer.activations.bits) for layer in read_standard(run).layers]
    else:
        layers = read_json(run / "result.json", Result).layers
        bits = [(layer.weight_bits, layer.activation_bits) for layer in layers]
    return bits_text(bits)


def _loaded(model: Path, form: Form, adapter: str, allow_fallback: bool) -> tuple[Any, Any]:
    import torch

    if form in QUANTIZED:
        return load(model, form, allow_fallback=allow_fallback)
    loaded, processor = load(model, adapter=adapter)
    return loaded.to(getattr(torch, form)), processor
