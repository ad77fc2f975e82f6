"""One question with or without an image."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""The letter of choice i is LETTERS[i]."""


@dataclass(frozen=True)
class Sample:
    """A question, its choices and where its image is.

    A multiple-choice question shows its choices and is answered with a letter. An open question
    shows none and is answered in words; `choices` then holds every answer that can be right.

    Attributes:
        id: name inside its split.
        question: what is asked.
        choices: 2 to 26 options; of an open question, the possible answers.
        answer: index into `choices`.
        hint: context to read first, "" where there is none.
        image: file, or None for a text-only question.
        subject: for instance "natural science".
        grade: "grade1" .. "grade12".
        topic: finer than the subject.
        split: the part of the data set that owns the sample (`train` also for a `minitrain`).
        open: answered in words, without seeing the choices.
    """

    id: str
    question: str
    choices: tuple[str, ...]
    answer: int
    hint: str
    image: Path | None
    subject: str
    grade: str
    topic: str
    split: str
    open: bool = False

    @property
    def key(self) -> str:
        """`split/id`: unique in a data set."""
        return f"{self.split}/{self.id}"

    @property
    def fingerprint(self) -> str:
        """Hash of key and text: the same sample wherever its data set lies."""
        # Whether it is open shows in its prompt and not here: a key is open or not, never both.
        parts = (self.key, self.question, self.hint, *self.choices)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
