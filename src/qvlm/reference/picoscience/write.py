"""Writes PicoScience to disk in ScienceQA's layout, atomically, and keeps a cached copy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from qvlm.errors import DataError, OutputError
from qvlm.reference import cache_directory
from qvlm.reference.directory import new_directory
from qvlm.reference.picoscience.families import SPLITS, generate
from qvlm.reference.picoscience.problem import Problem

DATASET_VERSION = "2"
"""Changes whenever the same sizes and seed would give other bytes."""

DEFAULT_SEED = 0
DEFAULT_SIZES = {"train": 2_000, "val": 1_000, "test": 2_000}
_FIRST_PID = {"train": 1_000_001, "val": 2_000_001, "test": 3_000_001}
"""Question ids start here, so a question's id does not depend on other splits' sizes."""


def record(problem: Problem, split: str) -> dict[str, object]:
    """Returns the question as an entry of problems.json."""
    return {
        "question": problem.question,
        "choices": list(problem.choices),
        "answer": problem.answer,
        "hint": problem.hint,
        "image": None if problem.image is None else "image.png",
        "task": "closed choice",
        "grade": problem.grade,
        "subject": problem.subject,
        "topic": problem.topic,
        "category": problem.category,
        "skill": problem.skill,
        "lecture": problem.lecture,
        "solution": problem.solution,
        "split": split,
    }


def check_disjoint(splits: Mapping[str, Sequence[Problem]]) -> None:
    """Raises `DataError` if two questions of any splits have the same content."""
    owner: dict[str, str] = {}
    for split, problems in splits.items():
        for problem in problems:
            first = owner.setdefault(problem.content_hash(), split)
            if first != split:
                raise DataError(
                    f"PicoScience: a {problem.family} question is in both {first} and {split}; "
                    "report this seed"
                )


def _fill(directory: Path, sizes: Mapping[str, int], seed: int) -> None:
    """Writes the files of the dataset into an existing, empty directory."""
    splits = {split: generate(split, sizes[split], seed) for split in SPLITS}
    check_disjoint(splits)
    problems: dict[str, dict[str, object]] = {}
    pids: dict[str, list[str]] = {}
    for split, members in splits.items():
        pids[split] = []
        for number, problem in enumerate(members, start=_FIRST_PID[split]):
            pid = str(number)
            pids[split].append(pid)
            problems[pid] = record(problem, split)
            if problem.image is not None:
                folder = directory / "images" / split / pid
                folder.mkdir(parents=True)
                problem.image.save(folder / "image.png", compress_level=1)
    for name, content in (("problems.json", problems), ("pid_splits.json", pids)):
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        (directory / name).write_text(text, encoding="utf-8")


def write_dataset(directory: Path, *, train: int, val: int, test: int, seed: int) -> None:
    """Writes the dataset to a new directory; same sizes and seed, same bytes.

    The directory appears complete or not at all. Raises `OutputError` if it exists already or
    cannot be written.
    """
    with new_directory(directory) as staging:
        _fill(staging, {"train": train, "val": val, "test": test}, seed)


def default_dataset() -> Path:
    """Returns the cached default copy, writing it on first use (some seconds).

    It lies under `$QVLM_CACHE`, or else `~/.cache/qvlm`. Its train questions are the first of
    those that pico-llava learnt from; val and test are held out.
    """
    directory = cache_directory() / f"picoscience-{DATASET_VERSION}"
    if not directory.exists():
        try:
            write_dataset(directory, **DEFAULT_SIZES, seed=DEFAULT_SEED)
        except OutputError:
            # Another process may have finished the same copy first.
            if not directory.exists():
                raise
    return directory
