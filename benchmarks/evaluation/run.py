"""How fast questions are asked and answers are scored; writes `results.json`.

1. All test questions of PicoScience on pico-llava in full precision: in batches, and one by one.
   One by one is timed on a seeded part, since it costs the same for every question; the answers of
   that part have to be the same.
2. Scorers on made-up answers: letters, and VQA accuracy with the answers that people give most
   (drawn with the frequencies of a Zipf law) and with answers that all differ.

Usage: python benchmarks/evaluation/run.py [--batch-size 64] [--alone 200]
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import qvlm
from qvlm import machine
from qvlm.data import Sample, choose, open_source
from qvlm.evaluation import HuggingFaceGenerator
from qvlm.evaluation.ask import batches_of
from qvlm.evaluation.score import judge
from qvlm.evaluation.tasks import load_task
from qvlm.evaluation.vqa_text import normalised, processed

HERE = Path(__file__).resolve().parent
SCORED = 200_000
SEED = 0


def asked(generator: HuggingFaceGenerator, samples: Sequence[Sample], size: int) -> dict[str, Any]:
    """Asks all samples in batches of similar length."""
    texts: dict[str, str] = {}
    start = time.perf_counter()
    for batch in batches_of(samples, size):
        texts.update(zip((s.key for s in batch), generator.generate(batch), strict=True))
    seconds = time.perf_counter() - start
    return {"texts": texts, "seconds": seconds, "per_second": len(samples) / seconds}


def generation(batch_size: int, alone: int) -> dict[str, Any]:
    model, processor = qvlm.load("pico-llava")
    generator = HuggingFaceGenerator(model, processor)
    samples = open_source("picoscience", "test")
    asked(generator, choose(samples, batch_size, SEED), batch_size)  # warm-up
    together = asked(generator, samples, batch_size)
    part = choose(samples, alone, SEED)
    single = asked(generator, part, 1)
    differing = [s.key for s in part if single["texts"][s.key] != together["texts"][s.key]]
    marks = judge(samples, together["texts"], load_task("picoscience").load_scorer())
    return {
        "model": "pico-llava, full precision",
        "questions": len(samples),
        "batch_size": batch_size,
        "max_new_tokens": generator.settings.max_new_tokens,
        "accuracy": 100 * sum(mark or 0 for mark in marks.values()) / len(marks),
        "seconds": together["seconds"],
        "questions_per_second": together["per_second"],
        "asked_one_by_one": alone,
        "one_by_one_per_second": single["per_second"],
        "speedup": together["per_second"] / single["per_second"],
        "answers_that_differ": differing,
    }


def words(rng: random.Random) -> list[str]:
    """As many short answers as people give to most questions, some with signs."""
    signs = ("", "", "", "", ".", "!", ", yes", "'s", "-blue")
    return [
        "".join(rng.choice("aeioubcdlmnrst") for _ in range(rng.randint(2, 8))) + rng.choice(signs)
        for _ in range(3_000)
    ]


def references(draw: Callable[[], str], rng: random.Random) -> tuple[str, ...]:
    """Ten people, of whom about six agree."""
    common = draw()
    return tuple(common if rng.random() < 0.6 else draw() for _ in range(10))


def scoring(task: str, samples: list[Sample], texts: list[str]) -> dict[str, Any]:
    answers = {sample.key: text for sample, text in zip(samples, texts, strict=True)}
    normalised.cache_clear()
    processed.cache_clear()
    scorer = load_task(task).load_scorer()
    start = time.perf_counter()
    judge(samples, answers, scorer)
    seconds = time.perf_counter() - start
    return {"answers": len(samples), "answers_per_second": len(samples) / seconds}


def scorers() -> dict[str, Any]:
    rng = random.Random(SEED)
    model = open_source("picoscience", "test")[0]
    letters = [replace(model, id=str(n), choices=("x",) * 4) for n in range(SCORED)]
    said = ("A", "B", "The answer is C.", "D. of course", "Because")
    result = {
        "letters": scoring("scienceqa", letters, [rng.choice(said) for _ in letters]),
    }
    vocabulary = words(rng)
    weights = [1 / rank for rank in range(1, len(vocabulary) + 1)]
    pool = iter(rng.choices(vocabulary, weights, k=12 * SCORED))
    count = iter(range(100 * SCORED))
    kinds: dict[str, tuple[int, Callable[[], str]]] = {
        "vqa, frequent answers": (SCORED, lambda: next(pool)),
        "vqa, all answers differ": (SCORED // 4, lambda: f"answer-{next(count)}!"),
    }
    for name, (size, draw) in kinds.items():
        samples = [
            replace(model, id=str(n), wording="short", references=references(draw, rng))
            for n in range(size)
        ]
        texts = [
            rng.choice(s.references).capitalize() if rng.random() < 0.7 else draw() for s in samples
        ]
        result[name] = scoring("vqav2", samples, texts)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--alone", type=int, default=200)
    parser.add_argument("--only", choices=["generation", "scorers"])
    parser.add_argument("--output", type=Path, default=HERE / "results.json")
    arguments = parser.parse_args()
    record: dict[str, Any] = {"machine": machine.description(), "versions": machine.versions()}
    if arguments.only != "generation":
        record["scorers"] = scorers()
    if arguments.only != "scorers":
        record["generation"] = generation(arguments.batch_size, arguments.alone)
    arguments.output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({key: record[key] for key in record if key != "versions"}, indent=2))


if __name__ == "__main__":
    main()
