"""One question with or without an image."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""The letter of choice i is LETTERS[i]."""

Wording = Literal[
    "letter", "llava-1.5", "lmms-eval", "explanation", "plain", "short", "unanswerable", "meme"
]
"""How a question is put and answered, see `qvlm.data.wordings`."""

SHOWS_CHOICES: tuple[Wording, ...] = ("letter", "llava-1.5", "lmms-eval", "explanation")
"""Wordings of multiple choice."""


class StoredImage(Protocol):
    """An encoded image inside a larger file; its text names the place."""

    def read(self) -> bytes:
        """Returns the bytes of the encoded image."""


ImageSource = Path | StoredImage


@dataclass(frozen=True)
class Sample:
    """A question, its choices and where its image is.

    A multiple-choice question shows its choices and is answered with a letter. An open question
    shows none and is answered in words; `choices` then holds every answer that can be right.

    Attributes:
        id: name inside its split.
        question: what is asked.
        choices: 2 to 26 options; of an open question, the possible answers, which may be
            unknown (then it is empty).
        answer: index into `choices`; None where the answer is not public.
        hint: context to read first, "" where there is none.
        image: where it is, or None for a text-only question.
        subject: for instance "natural science".
        grade: "grade1" .. "grade12".
        topic: finer than the subject.
        split: the part of the data set that owns the sample (`train` also for a `minitrain`).
        wording: how it is put and answered.
        references: what people answered, repetitions included, where the score depends on it.
        explanation: why the answer is right, as the wording `explanation` has it said.
        conversation: question and answer word for word, where a file gives them that way; they
            replace the wording.
        shots: answered samples that are shown first.
    """

    id: str
    question: str
    choices: tuple[str, ...]
    answer: int | None
    hint: str
    image: ImageSource | None
    subject: str
    grade: str
    topic: str
    split: str
    wording: Wording = "letter"
    references: tuple[str, ...] = ()
    explanation: str = ""
    conversation: tuple[str, str] | None = None
    shots: tuple[Sample, ...] = ()

    @property
    def open(self) -> bool:
        """True where it is answered in words, without seeing the choices."""
        return self.wording not in SHOWS_CHOICES

    @property
    def images(self) -> tuple[ImageSource, ...]:
        """All images of the prompt, in the order in which they are shown."""
        shown = (*self.shots, self)
        return tuple(one.image for one in shown if one.image is not None)

    @property
    def key(self) -> str:
        """`split/id`: unique in a data set."""
        return f"{self.split}/{self.id}"

    @property
    def fingerprint(self) -> str:
        """Hash of key and text: the same sample wherever its data set lies."""
        # How it is put shows in its prompt and not here: calibrating on one wording of a question
        # and scoring another is an overlap, too.
        parts = (self.key, self.question, self.hint, *self.choices)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]
