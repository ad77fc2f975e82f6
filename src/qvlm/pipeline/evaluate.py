"""Score a model on the questions of a split."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

from qvlm.artefacts.result import Result
from qvlm.artefacts.scores import Scores
from qvlm.artefacts.store import read_json, write_json
from qvlm.data import check_disjoint, open_source, task_of
from qvlm.evaluation import HuggingFaceGenerator
from qvlm.evaluation import evaluate as score
from qvlm.models.load import directory_of, resolve
from qvlm.pipeline.load import load
from qvlm.pipeline.progress import Progress, silent
from qvlm.runtime.integer import Arithmetic
from qvlm.runtime.load import is_quantized


def evaluate(
    model: str | Path,
    task: str | None = None,
    data: str = "picoscience",
    split: str = "test",
    *,
    limit: int | None = None,
    batch_size: int = 32,
    answers: str | Path | None = None,
    output: str | Path | None = None,
    arithmetic: Arithmetic | str = "integer",
    blank_images: bool = False,
    adapter: str = "auto",
    trust_remote_code: bool = False,
    progress: Progress = silent,
) -> Scores:
    """Scores a model on a split, greedily.

    Args:
        model: a run directory of `quantize`, or any model that `quantize` takes.
        task: how answers are scored; None = by the rules of the data.
        data: data source of questions.
        split: which of its splits.
        limit: only that many questions, drawn with a fixed seed.
        batch_size: questions answered at once.
        answers: JSON lines file of answers; an interrupted evaluation goes on from it.
        output: JSON file for the scores.
        arithmetic: as in `load`.
        blank_images: replace every image by a grey one.
        adapter: as in `load`.
        trust_remote_code: run Python code that comes with the model.
        progress: told how far it is.

    Raises:
        QvlmError: something in the input is wrong, or a question was calibrated on.
    """
    samples = open_source(data, split)
    if is_quantized(Path(model)):
        result = read_json(Path(model) / "result.json", Result)
        calibrated = set(result.sample_fingerprints)
        seen = [sample.key for sample in samples if sample.fingerprint in calibrated]
        check_disjoint(seen, [sample.key for sample in samples])
    loaded, processor = load(
        model, arithmetic, adapter=adapter, trust_remote_code=trust_remote_code
    )
    generator = HuggingFaceGenerator(loaded, processor, blank_images=blank_images)
    scores = score(
        generator,
        samples,
        task=task_of(data) if task is None else task,
        batch_size=batch_size,
        answers=None if answers is None else Path(answers),
        model_fingerprint=fingerprint(model, arithmetic),
        progress=partial(progress, "evaluate"),
        limit=limit,
    )
    if output is not None:
        write_json(Path(output), scores)
    return scores


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
