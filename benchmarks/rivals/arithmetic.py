r"""What the tables' float simulation answers beside the integer runtime: the same checkpoint twice.

    python benchmarks/rivals/arithmetic.py RUN --source SOURCE --questions N \
        --output benchmarks/rivals/arithmetic.json

Counts the questions that one gets right and the other does not, and the same against the model in
full precision. Needs the extra `rivals` no more than the product does.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import torch
from run import write
from simulate import load_simulated

import qvlm
from qvlm import machine
from qvlm.artefacts.result import Result
from qvlm.artefacts.store import read_json
from qvlm.data import Sample, choose, open_source, task_of
from qvlm.evaluation import HuggingFaceGenerator, evaluate, load_task
from qvlm.evaluation.answers import read_answers
from qvlm.evaluation.score import judge
from qvlm.models import load_model


def main() -> None:
    args = _arguments()
    torch.set_flush_denormal(True)
    asked = choose(open_source(args.source, "test"), args.questions, seed=0)
    loaded = load_model(read_json(args.run / "result.json", Result).model)
    task = task_of(args.source)
    forms: dict[str, Callable[[], Any]] = {
        "full precision": lambda: loaded.model,
        "integer": lambda: qvlm.load(args.run)[0],
        "simulated": lambda: load_simulated(args.run),
    }
    right = {name: _right(make(), loaded.processor, asked, task) for name, make in forms.items()}
    record = {
        "run": args.run.name,
        "questions": len(asked),
        "right": {name: sum(found) for name, found in right.items()},
        "one right, the other wrong": {
            f"{a} and {b}": sum(x != y for x, y in zip(right[a], right[b], strict=True))
            for a, b in combinations(right, 2)
        },
        "versions": machine.versions(),
        "machine": machine.description(),
    }
    write(args.output, record)
    print(record["right"], record["one right, the other wrong"])


def _right(model: Any, processor: Any, asked: list[Sample], task: str) -> list[bool]:
    """Which questions a model gets right, in their order."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "answers.jsonl"
        generator = HuggingFaceGenerator(model, processor)
        evaluate(generator, asked, task=task, answers=file, model_fingerprint="arithmetic")
        found = judge(asked, read_answers(file), load_task(task).load_scorer(None))
    return [found[sample.key] == 1 for sample in asked]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--source", required=True)
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


if __name__ == "__main__":
    main()
