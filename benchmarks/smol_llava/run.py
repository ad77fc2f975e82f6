"""What smol-llava answers: all 4,000 test questions of SmolQA, and 1,000 with grey pictures.

Writes figures.json beside its card. Arguments: the built model (smol-llava) and the questions
(smolqa, or smolqa:DIR with Fashion-MNIST's files).
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

from qvlm import machine, pipeline
from qvlm.artefacts.scores import Scores
from qvlm.data import Sample, choose, open_source
from qvlm.evaluation.answers import read_answers
from qvlm.evaluation.score import column, judge
from qvlm.evaluation.tasks import load_task
from qvlm.models.load import resolve
from qvlm.reference.smol.build import RECORD, WEIGHTS

BATCH = 64
SPLIT = "test"
LIMITS = {"seen": None, "grey": 1_000}
"""Questions with their own picture (all) and with a grey one (drawn with evaluation's seed)."""
SEED = 0
Column = dict[str, float | None]


def kinds(samples: list[Sample], answers: Path) -> dict[str, Column]:
    """The score of every kind of open question."""
    scorer = load_task("smolqa").load_scorer()
    verdicts = judge(samples, read_answers(answers), scorer)
    marks: dict[str, list[bool]] = defaultdict(list)
    for sample in samples:
        if sample.open:
            marks[sample.topic].append(verdicts[sample.key] == 1)
    return {
        kind: column(sum(values), len(values)).model_dump()
        for kind, values in sorted(marks.items())
    }


def chance(samples: list[Sample]) -> dict[str, float]:
    """Per cent right of who knows every question's possible answers and draws among them."""
    parts: dict[str, list[Fraction]] = defaultdict(list)
    for sample in samples:
        parts[sample.subject.upper()].append(Fraction(1, len(sample.choices)))
    return {name: round(float(100 * sum(part) / len(part)), 2) for name, part in parts.items()}


def columns(scores: Scores) -> dict[str, Column]:
    return {name: one.model_dump() for name, one in scores.columns.items()}


def main() -> None:
    model = sys.argv[1] if len(sys.argv) > 1 else "smol-llava"
    data = sys.argv[2] if len(sys.argv) > 2 else "smolqa"
    samples = open_source(data, SPLIT)
    folder = Path(resolve(model))
    record: dict[str, object] = {
        "model": json.loads((folder / RECORD).read_text()),
        "split": SPLIT,
        "questions": len(samples),
        "guessing": chance(samples),
        "versions": machine.versions(),
        "machine": machine.description(),
    }
    for name, limit in LIMITS.items():
        answers = Path("runs") / "smol-llava" / f"{name}.jsonl"
        scores = pipeline.evaluate(
            model,
            data=data,
            split=SPLIT,
            limit=limit,
            batch_size=BATCH,
            answers=answers,
            blank_images=name == "grey",
        )
        asked = samples if limit is None else choose(samples, limit, SEED)
        record[name] = {
            "columns": columns(scores),
            "kinds": kinds(asked, answers),
            "unparsed": scores.unparsed,
            "data_sha": scores.settings.data_sha,
            "prompt_sha": scores.settings.prompt_sha,
        }
        print(name, {key: value["accuracy"] for key, value in columns(scores).items()})
    (WEIGHTS.parent / "figures.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
