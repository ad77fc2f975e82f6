"""Score a model on the questions of a split."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from qvlm.artefacts.result import Result
from qvlm.artefacts.scores import Scores
from qvlm.artefacts.store import check_scores_file, read_json, write_json
from qvlm.data import Sample, check_disjoint, open_source, task_of, with_shots
from qvlm.evaluation import HuggingFaceGenerator
from qvlm.evaluation import evaluate as score
from qvlm.evaluation.shards import joined_shard
from qvlm.evaluation.tasks import Task, load_task
from qvlm.export.standard.read import is_standard
from qvlm.models.load import directory_of, resolve
from qvlm.pipeline.load import load
from qvlm.pipeline.progress import Progress, silent
from qvlm.runtime.definition import Arithmetic
from qvlm.runtime.load import is_quantized

SHOTS_SPLIT = "train"
"""Split that samples shown first are drawn from."""


def evaluate(
    model: str | Path,
    task: str | None = None,
    data: str = "picoscience",
    split: str = "test",
    *,
    parser: str | None = None,
    prompt: str | None = None,
    only: str | None = None,
    shots: int = 0,
    shot_seed: int = 0,
    max_new_tokens: int | None = None,
    limit: int | None = None,
    batch_size: int = 32,
    answers: str | Path | None = None,
    output: str | Path | None = None,
    overwrite: bool = False,
    submission: str | Path | None = None,
    arithmetic: Arithmetic | str = "integer",
    allow_fallback: bool = False,
    blank_images: bool = False,
    adapter: str = "auto",
    trust_remote_code: bool = False,
    progress: Progress = silent,
) -> Scores:
    """Scores a model on a split, greedily.

    Under `torchrun` every process answers its share of the questions; `answers` is needed then,
    and all processes return the same scores.

    Args:
        model: a run directory of `quantize`, a compressed-tensors checkpoint, or any model that
            `quantize` takes.
        task: how answers are scored; None = by the rules of the data.
        data: data source of questions.
        split: which of its splits.
        parser: how answers are read, one of the task's names; None = the prompt's or its first.
        prompt: how questions are put, one of the task's names; None = its first.
        only: score the samples of that column only, for instance `IMG`.
        shots: how many answered samples of the training split are shown before each question.
        shot_seed: by which they are drawn.
        max_new_tokens: most tokens of an answer; None = as the task or the prompt has it.
        limit: only that many questions, drawn with a fixed seed.
        batch_size: questions answered at once.
        answers: JSON lines file of answers; an interrupted evaluation goes on from it.
        output: JSON file for the scores.
        overwrite: replace an existing one.
        submission: new file for a challenge's server, needed where the split has no answers.
        arithmetic: as in `load`.
        allow_fallback: as in `load`.
        blank_images: replace every image by a grey one.
        adapter: as in `load`.
        trust_remote_code: run Python code that comes with the model.
        progress: told how far it is.

    Raises:
        QvlmError: something in the input is wrong, or a question was calibrated on.
    """
    if output is not None:
        check_scores_file(Path(output), overwrite)
    name = task_of(data) if task is None else task
    spec = load_task(name)
    spec.choose_parser(parser, prompt)
    samples = put(open_source(data, split), spec, prompt)
    check_not_calibrated(model, samples)
    if shots:
        pool = put(open_source(data, SHOTS_SPLIT), spec, prompt)
        samples = with_shots(samples, pool, shots, shot_seed)
    with joined_shard() as shard:
        loaded, processor = load(
            model,
            arithmetic,
            allow_fallback=allow_fallback,
            adapter=adapter,
            trust_remote_code=trust_remote_code,
        )
        generator = HuggingFaceGenerator(
            loaded,
            processor,
            max_new_tokens=max_new_tokens or spec.length(prompt),
            blank_images=blank_images,
        )
        scores = score(
            generator,
            samples,
            task=name,
            parser=parser,
            prompt=prompt,
            batch_size=batch_size,
            answers=None if answers is None else Path(answers),
            submission=None if submission is None else Path(submission),
            model_fingerprint=fingerprint(model, arithmetic),
            progress=partial(progress if shard.first else silent, "evaluate"),
            limit=limit,
            only=only,
            shot_seed=shot_seed if shots else None,
            shard=shard,
        )
        scores = scores.model_copy(update={"kernels": used_kernels(loaded)})
        if shard.first and output is not None:
            write_json(Path(output), scores)
    return scores


def is_first_process() -> bool:
    """False in the processes of `torchrun` that leave the outputs to another."""
    return os.environ.get("RANK", "0") == "0"


def put(samples: list[Sample], spec: Task, prompt: str | None) -> list[Sample]:
    """Returns the samples, put in one of the task's ways where one is named.

    Raises:
        DataError: the task has no such prompt.
    """
    if prompt is None:
        return samples
    wording = spec.choose_prompt(prompt)
    return [replace(sample, wording=wording) for sample in samples]


def check_not_calibrated(model: str | Path, samples: Sequence[Sample]) -> None:
    """Raises DataError where a quantized model was calibrated on one of the samples."""
    path = Path(model)
    # A compressed-tensors checkpoint of others does not say what it was calibrated on.
    if is_quantized(path) or (is_standard(path) and (path / "result.json").is_file()):
        result = read_json(path / "result.json", Result)
        calibrated = set(result.sample_fingerprints)
        seen = [sample.key for sample in samples if sample.fingerprint in calibrated]
        check_disjoint(seen, [sample.key for sample in samples])


def used_kernels(model: Any) -> dict[str, int]:
    """Kernel -> quantized layers that it runs; with the reason where it is not the fastest."""
    choices = getattr(model, "qvlm_kernels", {}).values()
    return dict(Counter(str(choice) for choice in choices))


def fingerprint(model: str | Path, arithmetic: str) -> str:
    """Hash of a model's weights, config and arithmetic: answers of one fit no other."""
    directory = directory_of(resolve(model))
    digest = hashlib.sha256()
    for file in sorted((*directory.glob("*.safetensors"), directory / "config.json")):
        digest.update(file.name.encode())
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    if is_quantized(directory):
        digest.update(arithmetic.encode())
    return digest.hexdigest()[:16]
