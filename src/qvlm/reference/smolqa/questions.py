"""Questions about one picture: open (answered in a word) or multiple choice (by letter)."""

from __future__ import annotations

import random
from dataclasses import dataclass

from qvlm.reference.prompts import LETTERS, question_prompt
from qvlm.reference.smolqa.attributes import ANSWERS
from qvlm.reference.smolqa.phrasings import PHRASINGS

MOST_CHOICES = 4


@dataclass(frozen=True)
class Question:
    """A question with its possible answers.

    Attributes:
        kind: key of `ANSWERS`.
        text: one of the kind's wordings.
        choices: what is shown as options, or, of an open question, every possible answer.
        answer: index into `choices`.
        open: answered in a word, without seeing the choices.
    """

    kind: str
    text: str
    choices: tuple[str, ...]
    answer: int
    open: bool

    @property
    def prompt(self) -> str:
        """The user's text, the picture left out."""
        if self.open:
            return self.text
        return question_prompt(self.text, "", self.choices, has_image=False)

    @property
    def reply(self) -> str:
        """What a right model says."""
        return self.choices[self.answer] if self.open else LETTERS[self.answer]


def ask_open(rng: random.Random, kind: str, answer: str) -> Question:
    """Returns an open question in a random wording."""
    answers = ANSWERS[kind]
    return Question(kind, rng.choice(PHRASINGS[kind]), answers, answers.index(answer), open=True)


def ask_choice(rng: random.Random, kind: str, answer: str, most: int = MOST_CHOICES) -> Question:
    """Returns a question of at most so many choices, in a random wording.

    The answer is at a uniform place.
    """
    choices, place = _choices(rng, kind, answer, most)
    return Question(kind, rng.choice(PHRASINGS[kind]), choices, place, open=False)


def drill(rng: random.Random, most: int = MOST_CHOICES) -> Question:
    """Returns an exercise in what a letter stands for: the question names the right choice."""
    kind = rng.choice(list(ANSWERS))
    answer = rng.choice(ANSWERS[kind])
    choices, place = _choices(rng, kind, answer, most)
    return Question(kind, f"Which option is {answer}?", choices, place, open=False)


def _choices(rng: random.Random, kind: str, answer: str, most: int) -> tuple[tuple[str, ...], int]:
    """The choices in random order and the place of the answer."""
    wrong = [other for other in ANSWERS[kind] if other != answer]
    choices = rng.sample(wrong, min(most - 1, len(wrong)))
    place = rng.randrange(len(choices) + 1)
    choices.insert(place, answer)
    return tuple(choices), place
