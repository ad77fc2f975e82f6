"""One multiple-choice question, and how the families put one together."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Problem:
    """A question with one correct choice.

    `choices[answer]` is correct. `image` is a 112x112 RGB picture or None. `self_contained` says
    that the question can be answered in a word or phrase without seeing the choices.
    """

    family: str
    subject: str
    topic: str
    category: str
    skill: str
    grade: str
    question: str
    choices: tuple[str, ...]
    answer: int
    hint: str
    lecture: str
    solution: str
    self_contained: bool
    image: Image.Image | None

    def content_hash(self) -> str:
        """Hex digest of what makes the question this question, whatever the order of choices."""
        digest = hashlib.sha256()
        for text in (self.family, self.question, self.hint, *sorted(self.choices)):
            digest.update(text.encode())
            digest.update(b"\0")
        if self.image is not None:
            digest.update(self.image.tobytes())
        return digest.hexdigest()


Family = Callable[[random.Random], Problem]


@dataclass(frozen=True)
class Kind:
    """What all questions of a family share."""

    family: str
    subject: str
    topic: str
    category: str
    skill: str
    grade: str
    lecture: str
    self_contained: bool = True

    def problem(
        self,
        question: str,
        choices: Sequence[str],
        answer: int,
        solution: str,
        *,
        hint: str = "",
        image: Image.Image | None = None,
    ) -> Problem:
        """Returns the question with the shared fields filled in."""
        return Problem(
            self.family, self.subject, self.topic, self.category, self.skill, self.grade,
            question, tuple(choices), answer, hint, self.lecture, solution,
            self.self_contained, image,
        )  # fmt: skip


def draw_choices(rng: random.Random, values: Sequence[str], count: int) -> tuple[list[str], int]:
    """Returns `count` of the values in random order and a uniform index for the correct one.

    The answer is chosen among the choices before anything is drawn, so the choices alone say
    nothing about it.
    """
    return rng.sample(list(values), count), rng.randrange(count)


def place(rng: random.Random, correct: str, wrong: Sequence[str]) -> tuple[list[str], int]:
    """Returns the choices in random order, the correct one at a uniform position, and its index."""
    choices = rng.sample(list(wrong), len(wrong))
    answer = rng.randrange(len(wrong) + 1)
    choices.insert(answer, correct)
    return choices, answer
