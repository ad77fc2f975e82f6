"""One cell of the tables in a process of its own: quantize, check, measure, write JSON.

    python benchmarks/rivals/cell.py '{"model": ..., ...}' OUTPUT

Started by `run.py`, which knows the fields (`Request`).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from divergence import divergence, write_reference
from levels import count_levels
from methods import METHODS
from perplexity import perplexity
from rival import Case, NotApplicableError, Outcome
from simulate import load_simulated
from sizes import computed_bytes, float_bytes

from qvlm import machine
from qvlm.data import Sample, choose, open_source, task_of
from qvlm.evaluation import HuggingFaceGenerator, evaluate, load_task
from qvlm.evaluation.answers import read_answers
from qvlm.evaluation.score import judge
from qvlm.models import load_model

LIBRARIES = ("llmcompressor", "compressed-tensors", "auto-round", "bitsandbytes")


@dataclass(frozen=True)
class Request:
    """What is measured.

    Attributes:
        model: as `load_model` takes it.
        source: of calibration samples and questions.
        method: a name in `METHODS`, or `FULL_PRECISION`.
        width: preset name; of full precision, none.
        seed: of the calibration draw.
        samples: how many are drawn.
        split: of the questions.
        questions: how many, drawn by seed 0.
        text: whether perplexity on plain text is measured.
        reference: file of the full-precision distributions.
    """

    model: str
    source: str
    method: str
    width: str | None
    seed: int
    samples: int
    split: str
    questions: int
    text: bool
    reference: str


def measure(request: Request) -> dict[str, Any]:
    """The cell's figures, or why there are none."""
    torch.set_flush_denormal(True)
    asked = choose(open_source(request.source, request.split), request.questions, seed=0)
    if request.width is None:
        loaded = load_model(request.model)
        write_reference(Path(request.reference), loaded.model, loaded.processor, asked)
        figures = {"checkpoint_bytes": float_bytes(loaded.model), "checkpoint": "saved"}
        return figures | _answers(request, loaded.model, loaded.processor, asked)
    with tempfile.TemporaryDirectory() as folder:
        return _cell(request, request.width, asked, Path(folder))


def _cell(request: Request, width: str, asked: list[Sample], folder: Path) -> dict[str, Any]:
    """Quantizes, checks and measures one model."""
    case = Case(request.model, request.source, width, request.seed, request.samples, folder)
    quantize = METHODS[request.method].load()
    start, cpu = time.perf_counter(), time.process_time()
    try:
        outcome = quantize(case)
    except NotApplicableError as reason:
        return {"not_applicable": str(reason)}
    seconds = time.perf_counter() - start - case.load_seconds
    figures = {
        "quantize_seconds": seconds if outcome.seconds is None else outcome.seconds,
        "quantize_cpu_seconds": time.process_time() - cpu - case.load_cpu_seconds,
        "peak_rss_bytes": machine.peak_rss_bytes(),
        "where": outcome.where,
        "notes": outcome.notes,
    }
    directory = outcome.directory
    model = case.model if directory is None else load_simulated(directory)
    paths = [path for site in case.language.sites for path in site.linears]
    figures["levels"] = asdict(count_levels(model, paths, case.batches[0], outcome))
    figures |= _size(case, outcome, request.model)
    figures |= _answers(request, model, case.loaded.processor, asked)
    reference = Path(request.reference)
    figures["kl"] = divergence(reference, model, case.loaded.processor, asked)
    return figures


def _size(case: Case, outcome: Outcome, name: str) -> dict[str, Any]:
    if outcome.checkpoint_bytes is not None:
        return {"checkpoint_bytes": outcome.checkpoint_bytes, "checkpoint": "saved"}
    original = load_model(name).model
    size = computed_bytes(case, outcome, original)
    return {"checkpoint_bytes": size, "checkpoint": "computed from bits"}


def _answers(request: Request, model: Any, processor: Any, asked: list[Sample]) -> dict[str, Any]:
    """Accuracy by greedy generation, and perplexity on text where it is asked for.

    `credits` has a 1 for every right answer and a 0 for every other, in order of the keys, so that
    two cells can be compared question by question.
    """
    task = task_of(request.source)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "answers.jsonl"
        scores = evaluate(
            HuggingFaceGenerator(model, processor),
            asked,
            task=task,
            answers=file,
            model_fingerprint=f"{request.model} {request.method} {request.width} {request.seed}",
        )
        found = judge(asked, read_answers(file), load_task(task).load_scorer(None))
    figures: dict[str, Any] = {
        "columns": {name: column.accuracy for name, column in scores.columns.items()},
        "credits": "".join(str(int(found[key] == 1)) for key in sorted(found)),
        "unparsed": scores.unparsed,
        "generation_seconds": scores.generation_seconds,
    }
    if request.text:
        figures["text"] = asdict(perplexity(model, processor.tokenizer))
    return figures


def versions() -> dict[str, str]:
    """Versions of qvlm's libraries and of the rivals', as far as they are installed."""
    found = machine.versions()
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def main() -> None:
    request = Request(**json.loads(sys.argv[1]))
    figures = measure(request) | {"versions": versions(), "machine": machine.description()}
    Path(sys.argv[2]).write_text(json.dumps(figures))


if __name__ == "__main__":
    main()
