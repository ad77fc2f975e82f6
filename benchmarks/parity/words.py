"""Answers that scorers disagree on, if they disagree: made by a seed from what their rules name."""

from __future__ import annotations

import random
from collections.abc import Sequence

from qvlm.evaluation.vqa_text import PUNCTUATION

PLAIN = [
    "yes",
    "no",
    "red",
    "Red",
    "dark",
    "blue",
    "cat",
    "cats",
    "man's",
    "dog's",
    "2",
    "10",
    "1,000",
    "1,,000",
    "12,5",
    "3.14",
    ".5",
    "5.",
    "a.5",
    "U.S.A.",
    "x-ray",
    "unanswerable",
    "left",
    "right",
    "café",
    "Über",
    "二",
    "İstanbul",
    "\u0410",
    "\uff0c",
]
NUMBERS = [
    "none",
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "Ten",
]
ARTICLES = ["a", "an", "the", "The", "A"]
JOINTS = (" ", " ", " ", " ", "", ",", ", ", "-", " - ", "/", ".", ". ", "\n", "\t", "  ", "\u00a0")


class Words:
    """A source of texts.

    Args:
        seed: of the draws.
        contractions: as the published tables list them, both sides.
    """

    def __init__(self, seed: int, contractions: Sequence[str]) -> None:
        self._draw = random.Random(seed)
        self._pools = (PLAIN, NUMBERS, ARTICLES, list(contractions), list(PUNCTUATION))

    def answer(self, most: int = 5) -> str:
        """Up to `most` words, joined by blanks, signs or nothing."""
        text = ""
        for _ in range(self._draw.randrange(most + 1)):
            text += self._draw.choice(self._draw.choice(self._pools))
            text += self._draw.choice(JOINTS)
        return text

    def people(self) -> list[str]:
        """Ten answers: of one to four kinds, so that many are equal."""
        kinds = [self.answer(3) for _ in range(self._draw.randint(1, 4))]
        return [self._draw.choice(kinds) for _ in range(10)]

    def given(self, people: Sequence[str]) -> str:
        """What a model says: often what people say, in its own spelling."""
        said = self._draw.choice(people)
        return self._draw.choice((said, said.upper(), f"The {said}.", f" {said}!", self.answer()))

    def letter(self, choices: int) -> str:
        """What a model says where a letter is wanted; without blanks around it, as it is kept."""
        one, other = (self._draw.choice("ABCDEFabc\u00c4") for _ in range(2))
        forms = (
            one, one, f"{one}.", f"{one}. first", f"{one}.first", f"({one})",
            f"{one}) x", f"{one} x",
            f"The answer is {one}.", f"The answer is {one}", f"So, the answer is {one}.",
            f"{one}. x The answer is {other}.", f"The answer is {one}. The answer is {other}.",
            f"ANSWER: {one}.", "", "?", "ABC", str(choices),
        )  # fmt: skip
        return self._draw.choice(forms).strip()

    def below(self, count: int) -> int:
        """A number from 0 to count - 1."""
        return self._draw.randrange(count)

    def share(self) -> float:
        """A number in [0, 1), coarse, so that some are equal."""
        return self._draw.randrange(50) / 50
