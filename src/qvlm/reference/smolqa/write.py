"""Keeps the questions of a split on disk: `questions.json` and one PNG per question."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from qvlm.errors import DataError, OutputError, nearest
from qvlm.reference import cache_directory
from qvlm.reference.directory import new_directory
from qvlm.reference.smolqa.clothing import Clothing, read_clothing
from qvlm.reference.smolqa.draw import draw_questions

DATASET_VERSION = "1"
"""Changes whenever the same photographs, split and seed would give other questions."""

SEED = 0
SIZES = {"train": 2_000, "val": 1_000, "test": 4_000}
"""Questions of each split; half of them about clothing."""
QUESTIONS = "questions.json"


def split_directory(fashion: Path | None, split: str) -> Path:
    """Returns the cached copy of a split, writing it on first use (some seconds).

    It lies under `$QVLM_CACHE`, or else `~/.cache/qvlm`; its name tells data version and
    photographs.

    Args:
        fashion: directory of Fashion-MNIST's IDX files; None = where Debian puts them.
        split: `train`, `val` or `test`.

    Raises:
        DataError: there is no such split, or Fashion-MNIST's files are missing or broken.
        OutputError: the cache cannot be written.
    """
    if split not in SIZES:
        raise DataError(
            f"smolqa has no split '{split}'{nearest(split, SIZES)}: it has {', '.join(SIZES)}"
        )
    clothing = read_clothing(fashion, split)
    directory = cache_directory() / f"smolqa-{DATASET_VERSION}-{_fingerprint(clothing)}" / split
    if not directory.exists():
        try:
            write_split(directory, clothing, split, SIZES[split])
        except OutputError:
            # Another process may have finished the same copy first.
            if not directory.exists():
                raise
    return directory


def write_split(directory: Path, clothing: Clothing, split: str, count: int) -> None:
    """Writes questions to a new directory, which appears complete or not at all.

    Raises:
        OutputError: it exists already or cannot be written.
    """
    with new_directory(directory) as staging:
        _fill(staging, clothing, split, count)


def _fill(directory: Path, clothing: Clothing, split: str, count: int) -> None:
    records = []
    for number, asked in enumerate(draw_questions(clothing, split, count, SEED), start=1):
        name = f"{number:05d}"
        asked.picture.save(directory / f"{name}.png", compress_level=1)
        question = asked.question
        records.append(
            {
                "id": name,
                "group": asked.group,
                "kind": question.kind,
                "question": question.text,
                "choices": list(question.choices),
                "answer": question.answer,
                "open": question.open,
            }
        )
    text = json.dumps(records, indent=1) + "\n"
    (directory / QUESTIONS).write_text(text, encoding="utf-8")


def _fingerprint(clothing: Clothing) -> str:
    digest = hashlib.sha256(clothing.labels.tobytes())
    digest.update(clothing.images.tobytes())
    return digest.hexdigest()[:12]
