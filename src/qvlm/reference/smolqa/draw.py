"""Draws the questions of a split: clothing, attributes of drawn pictures, and multiple choice."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

from PIL import Image

from qvlm.reference.picoscience.families import family_stream
from qvlm.reference.smolqa.attributes import FAMILIES, facts_of
from qvlm.reference.smolqa.clothing import Clothing
from qvlm.reference.smolqa.questions import Question, ask_choice, ask_open

Group = Literal["clothing", "attributes", "choice"]

CYCLE: tuple[Group, ...] = (
    "clothing", "attributes", "clothing", "choice", "clothing", "attributes", "clothing",
    "attributes", "clothing", "attributes", "clothing", "choice", "clothing", "attributes",
    "clothing", "attributes", "clothing", "attributes", "clothing", "choice",
)  # fmt: skip
"""Questions take turns: of 20, ten about clothing, seven about drawings, three with choices."""


@dataclass(frozen=True)
class Asked:
    """A question with its picture, RGB, and the group that it is scored in."""

    group: Group
    question: Question
    picture: Image.Image


def draw_questions(clothing: Clothing, split: str, count: int, seed: int) -> list[Asked]:
    """Returns the first `count` questions of a split, each about a picture of its own.

    Same photographs, split and seed, same questions; a smaller count gives a prefix.

    Args:
        clothing: the split's photographs.
        split: `train`, `val` or `test`; the splits' drawings come from disjoint streams.
        count: at most about 1.7 questions per photograph.
        seed: of wordings, choices and drawings.
    """
    rng = random.Random(f"{seed}/smolqa/{split}")
    photos = iter(rng.sample(range(len(clothing)), len(clothing)))
    families = list(FAMILIES)
    streams = {
        name: iter(family_stream(name, split, count // len(families) + 1, seed))
        for name in families
    }
    asked: list[Asked] = []
    drawn = choices = 0
    for number in range(count):
        group = CYCLE[number % len(CYCLE)]
        choices += group == "choice"
        if group == "clothing" or (group == "choice" and choices % 2 == 1):
            index = next(photos)
            facts, picture = {"garment": clothing.garment(index)}, clothing.picture(index)
        else:
            problem = next(streams[families[drawn % len(families)]])
            drawn += 1
            if problem.image is None:
                raise RuntimeError(f"a question of family {problem.family} has no picture")
            facts, picture = facts_of(problem), problem.image
        kind = rng.choice(list(facts))
        ask = ask_choice if group == "choice" else ask_open
        asked.append(Asked(group, ask(rng, kind, facts[kind]), picture))
    return asked
