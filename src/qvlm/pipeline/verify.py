"""Check a checkpoint by its files and by running it; say what each server makes of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from qvlm import __version__, machine
from qvlm.artefacts.store import write_json
from qvlm.artefacts.verification import REPORT_NAME, Check, Executed, Verification
from qvlm.data import Sample, open_source
from qvlm.data.batches import prompt_inputs
from qvlm.errors import ArtefactError, DataError
from qvlm.evaluation import HuggingFaceGenerator
from qvlm.evaluation.broken import broken_reason
from qvlm.export import servers
from qvlm.export.inspect import Inspection, inspect_native, inspect_standard
from qvlm.export.standard.read import is_standard
from qvlm.export.stored import NATIVE, StoredLayer
from qvlm.models.locate import locate
from qvlm.pipeline.counterpart import counterpart
from qvlm.pipeline.load import load
from qvlm.pipeline.noise import noisy_embeddings
from qvlm.pipeline.progress import Progress, silent
from qvlm.pipeline.runs import described_run
from qvlm.runtime import QuantizedLinear
from qvlm.runtime.load import is_quantized

QUESTIONS = ("picoscience", "val")
IMAGES, TEXTS = 4, 2
NEW_TOKENS = 16
FLOAT_TOLERANCE = 1e-4
"""Relative distance of logits that differ in the order of float sums only."""
AS_NOISE = 2.0
"""How much further than by the last bits of its inputs the logits of an export may be moved."""
LINEAR_TOLERANCE = 1e-4
"""The same of one linear's output, where sums of 8-bit levels cancel (docs/kernels.md)."""


def verify(
    directory: str | Path,
    *,
    run: str | Path | None = None,
    record: bool = False,
    progress: Progress = silent,
) -> Verification:
    """Checks files, names, sizes and answers of a checkpoint.

    Args:
        directory: a run of `quantize`, an export, or a compressed-tensors checkpoint of others;
            or one's name on the hub.
        run: the run that it was exported from, or its name on the hub; None = the one that it
            names, where that is here.
        record: write `verification.json` into the directory.
        progress: told how far it is.

    Raises:
        ArtefactError: it is no quantized checkpoint, or damaged; or `run` is no run.
        ModelError: there is no such directory, nor name on the hub.
    """
    report = partial(progress, "download MiB")
    inspect = _inspector(directory)
    native = None
    if run is not None:
        described_run(run)
        native = locate(run, report=report)
    path = locate(directory, report=report)
    progress("verify", 0, 3)
    found = inspect(path)
    progress("verify", 1, 3)
    model, processor = load(path)
    samples = _questions(processor)
    other, reason = counterpart(path, found.form, native)
    checks = [*found.checks, _logits(model, other, reason, processor, samples, found)]
    if found.form == NATIVE:
        checks.append(_linears(model, other, processor, samples))
    del other
    progress("verify", 2, 3)
    answers, check = _answers(model, processor, samples)
    kernels = getattr(model, "qvlm_kernels", {})
    result = Verification(
        qvlm_version=__version__,
        format=found.form,
        rows=_rows(found, {layer: str(choice) for layer, choice in kernels.items()}),
        bits={layer.path: round(layer.bits_per_weight, 4) for layer in found.layers},
        checks=(*checks, check),
        answers=answers,
        versions=machine.versions(),
    )
    if record:
        write_json(path / REPORT_NAME, result)
    progress("verify", 3, 3)
    return result


def _inspector(name: str | Path) -> Callable[[Path], Inspection]:
    """What reads such a checkpoint; asked before its weights are downloaded."""
    path = locate(name, weights=False)
    if is_quantized(path):
        return inspect_native
    if is_standard(path):
        return inspect_standard
    raise ArtefactError(
        f"'{name}' is no quantized checkpoint: give a run of qvlm quantize, an export, or a "
        "compressed-tensors checkpoint"
    )


def _questions(processor: Any) -> list[Sample]:
    """Some with an image, and some without where the processor takes them."""
    samples = open_source(*QUESTIONS)
    with_image = [sample for sample in samples if sample.image is not None]
    without = [sample for sample in samples if sample.image is None]
    try:
        prompt_inputs(without[:1], processor)
    except DataError:
        return with_image[:IMAGES]
    return [*with_image[:IMAGES], *without[:TEXTS]]


@torch.no_grad()
def _logits(
    model: Any, other: Any, reason: str, processor: Any, samples: list[Sample], found: Inspection
) -> Check:
    name = "logits"
    if other is None:
        return Check(name=name, outcome="not checked", detail=reason)
    largest = distance = moved = size = 0.0
    same = 0
    for sample in samples:
        inputs = prompt_inputs([sample], processor)
        mine, theirs = model(**inputs).logits.double(), other(**inputs).logits.double()
        largest = max(largest, float((mine - theirs).abs().max()))
        distance += float((mine - theirs).square().sum())
        size += float(theirs.square().sum())
        same += int(mine[0, -1].argmax() == theirs[0, -1].argmax())
        if found.form != NATIVE:
            with noisy_embeddings(other):
                moved += float((other(**inputs).logits.double() - theirs).square().sum())
    relative, by_noise = ((part / max(size, 1e-30)) ** 0.5 for part in (distance, moved))
    tolerance = max(tolerance_of(found), AS_NOISE * by_noise)
    against = "integer and simulated" if found.form == NATIVE else "Transformers and the native run"
    noise = "" if found.form == NATIVE else f"; the last bits of its inputs move it {by_noise:.2g}"
    return Check(
        name=name,
        outcome="ok" if relative <= tolerance else "failed",
        detail=f"{against}: largest difference {largest:.2g}, relative {relative:.2g} (tolerance "
        f"{tolerance:.2g}{noise}), the same first token in {same} of {len(samples)} answers",
    )


@torch.no_grad()
def _linears(model: Any, other: Any, processor: Any, samples: list[Sample]) -> Check:
    """Every linear beside its definition, on the inputs that it has in the model: names the one
    that a difference of the logits begins at."""
    worst, where = 0.0, "none"

    def compare(path: str, args: tuple[torch.Tensor, ...], y: torch.Tensor) -> None:
        nonlocal worst, where
        expected = other.get_submodule(path)(*args).double()
        size = expected.abs().amax(dim=-1, keepdim=True).clamp(min=1e-30)
        distance = float(((y.double() - expected).abs() / size).max())
        if not distance <= worst:  # NaN, too
            worst, where = distance, path

    handles = [
        part.register_forward_hook(lambda _part, args, y, path=path: compare(path, args, y))
        for path, part in model.named_modules()
        if isinstance(part, QuantizedLinear)
    ]
    for sample in (samples[0], samples[-1]):
        model(**prompt_inputs([sample], processor))
    for handle in handles:
        handle.remove()
    return Check(
        name="linears",
        outcome="ok" if worst <= LINEAR_TOLERANCE else "failed",
        detail=f"{len(handles)} linears and their definitions on the same inputs: furthest "
        f"'{where}', {worst:.2g} of a token's largest output (tolerance {LINEAR_TOLERANCE:.2g})",
    )


def tolerance_of(found: Inspection) -> float:
    """Relative distance of logits that another way of rounding activations explains.

    The native runtimes compute the same numbers. Between Transformers and the native run, a value
    near the middle of two levels may fall on either side, and the layers behind it see that: the
    bound is four steps of the coarsest activations, or more where the model itself moves further
    (`qvlm.pipeline.noise`).
    """
    bits = min(layer.activations.bits for layer in found.layers)
    if found.form == NATIVE or bits == 16:
        return FLOAT_TOLERANCE
    return float(4 * 2.0**-bits)


def _answers(model: Any, processor: Any, samples: list[Sample]) -> tuple[tuple[str, ...], Check]:
    generator = HuggingFaceGenerator(model, processor, max_new_tokens=NEW_TOKENS)
    answers = generator.generate(samples)
    tokenizer = processor.tokenizer
    reasons = [
        broken_reason(answer, tokenizer(answer, add_special_tokens=False)["input_ids"])
        for answer in answers
    ]
    broken = [reason for reason in reasons if reason is not None]
    detail = f"{len(broken)} of {len(answers)} are empty or repeat themselves"
    if broken:
        detail += f": one {broken[0]}"
    all_broken = len(broken) == len(answers)
    check = Check(name="answers", outcome="failed" if all_broken else "ok", detail=detail)
    return tuple(answers), check


def _rows(found: Inspection, kernels: dict[str, str]) -> tuple[Executed, ...]:
    """Layers of one tower with the same fate together."""
    groups: dict[tuple[str, ...], list[StoredLayer]] = defaultdict(list)
    for layer in found.layers:
        key = (
            layer.tower,
            layer.label,
            servers.transformers(layer).text,
            servers.vllm(layer).text,
            servers.own(layer, kernels.get(layer.path)).text,
        )
        groups[key].append(layer)
    return tuple(
        Executed(
            tower=tower,
            layers=len(layers),
            asked=asked,
            bits_per_weight=8
            * sum(layer.stored_bytes for layer in layers)
            / sum(layer.in_features * layer.out_features for layer in layers),
            transformers=transformers,
            vllm=vllm,
            own=own,
            vllm_differs=servers.vllm(layers[0]).differs,
        )
        for (tower, asked, transformers, vllm, own), layers in groups.items()
    )
