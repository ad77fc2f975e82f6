"""Scores a LLaVA folder on PicoScience: `python -m qvlm.reference.score DIR`.

Plain transformers: batched greedy generation, left-padded, letter mode. The figures go to the log
and to `figures.json` in DIR.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoProcessor, LlavaForConditionalGeneration, LlavaProcessor

from qvlm.reference.picoscience import DATASET_VERSION, FAMILIES, Problem, generate
from qvlm.reference.picoscience.draw import SIZE
from qvlm.reference.picoscience.write import DEFAULT_SEED
from qvlm.reference.prompts import LETTERS, question_prompt

log = logging.getLogger("qvlm.reference.score")

_GREY = Image.new("RGB", (SIZE, SIZE), (128, 128, 128))
_SUBJECTS = {"NAT": "natural science", "SOC": "social science", "LAN": "language science"}
_Z = 1.959964
"""Standard normal quantile of a two-sided 95 % interval."""


def load(directory: Path) -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
    """Returns the model in float32, ready to evaluate, and its processor."""
    model = LlavaForConditionalGeneration.from_pretrained(directory, dtype=torch.float32)
    return model.eval(), AutoProcessor.from_pretrained(directory)


@torch.no_grad()
def replies(
    model: LlavaForConditionalGeneration,
    processor: LlavaProcessor,
    problems: Sequence[Problem],
    *,
    blank: bool = False,
    batch_size: int = 32,
) -> list[str]:
    """Returns the model's greedy replies in letter mode, in the problems' order.

    With `blank` every picture is replaced by a uniform grey one.
    """
    order = sorted(range(len(problems)), key=lambda i: problems[i].image is None)
    seen = sum(problem.image is not None for problem in problems)
    answers = [""] * len(problems)
    for group in (order[:seen], order[seen:]):
        for start in range(0, len(group), batch_size):
            part = group[start : start + batch_size]
            texts = _reply(model, processor, [problems[i] for i in part], blank)
            for index, text in zip(part, texts, strict=True):
                answers[index] = text
    return answers


def _reply(
    model: LlavaForConditionalGeneration,
    processor: LlavaProcessor,
    problems: Sequence[Problem],
    blank: bool,
) -> list[str]:
    """Returns the replies to one batch, whose problems all have a picture or all have none."""
    prompts = [
        processor.apply_chat_template(
            [
                {
                    "role": "user",
                    "content": question_prompt(
                        problem.question, problem.hint, problem.choices, problem.image is not None
                    ),
                }
            ],
            add_generation_prompt=True,
        )
        for problem in problems
    ]
    images = [_GREY if blank else problem.image for problem in problems if problem.image]
    inputs = processor(
        text=prompts, images=images or None, padding=True, padding_side="left", return_tensors="pt"
    )
    output = model.generate(**inputs, max_new_tokens=4, do_sample=False)
    new = output[:, inputs["input_ids"].shape[1] :]
    return list(processor.batch_decode(new, skip_special_tokens=True))


def is_right(problem: Problem, reply: str) -> bool:
    """Whether the reply's first word is the correct option's letter."""
    found = re.match(r"\s*([A-E])\b", reply)
    return found is not None and found.group(1) == LETTERS[problem.answer]


def interval(right: int, total: int) -> tuple[float, float]:
    """Returns the Wilson 95 % interval of a proportion."""
    share, z2 = right / total, _Z**2
    centre = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    return centre - half, centre + half


def _columns(problem: Problem) -> set[str]:
    """Returns the columns a problem counts in: ScienceQA's six and its family."""
    columns = {name for name, subject in _SUBJECTS.items() if problem.subject == subject}
    if problem.hint:
        columns.add("TXT")
    if problem.image is not None:
        columns.add("IMG")
    if not problem.hint and problem.image is None:
        columns.add("NO")
    return columns | {problem.family}


def _mean(values: Iterable[float]) -> float:
    """Returns the mean of one value or more."""
    numbers = list(values)
    return sum(numbers) / len(numbers)


def figures(directory: Path, count: int, seed: int) -> dict[str, object]:
    """Returns the scores of the folder's model on the first `count` test questions."""
    model, processor = load(directory)
    problems = generate("test", count, seed)
    started = time.monotonic()
    marks = [
        is_right(problem, reply)
        for problem, reply in zip(problems, replies(model, processor, problems), strict=True)
    ]
    seconds = time.monotonic() - started
    pictured = [problem for problem in problems if problem.image is not None]
    blind = replies(model, processor, pictured, blank=True)
    low, high = interval(sum(marks), len(marks))
    members: dict[str, list[bool]] = {}
    for problem, mark in zip(problems, marks, strict=True):
        for column in _columns(problem):
            members.setdefault(column, []).append(mark)
    order = [*_SUBJECTS, "TXT", "IMG", "NO", *FAMILIES]
    return {
        "dataset": f"picoscience-{DATASET_VERSION}",
        "split": "test",
        "questions": count,
        "seed": seed,
        "accuracy": _mean(marks),
        "accuracy_interval_95": [low, high],
        "columns": {name: _mean(members[name]) for name in order if name in members},
        "blank_image_accuracy": _mean(map(is_right, pictured, blind)),
        "blank_image_chance": _mean(1 / len(problem.choices) for problem in pictured),
        "image_questions": len(pictured),
        "seconds": seconds,
    }


def main() -> None:
    """Reads the command line, scores and writes figures.json."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="folder of the model")
    parser.add_argument("--questions", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    options = parser.parse_args()
    result = figures(options.directory, options.questions, options.seed)
    text = json.dumps(result, indent=1) + "\n"
    (options.directory / "figures.json").write_text(text, encoding="utf-8")
    log.info("%s", text)


if __name__ == "__main__":
    main()
