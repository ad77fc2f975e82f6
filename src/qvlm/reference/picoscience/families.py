"""The families of questions and their disjoint, seeded streams."""

from __future__ import annotations

import random

from qvlm.reference.picoscience import (
    language,
    natural_images,
    natural_text,
    passages,
    signs,
    social,
)
from qvlm.reference.picoscience.problem import Family, Problem

FAMILIES: dict[str, Family] = {
    "beakers": natural_images.beakers,
    "goods": social.goods,
    "moon": signs.moon,
    "road_sign": signs.road_sign,
    "word_meaning": language.word_meaning,
    "punnett": natural_images.punnett,
    "map_region": social.map_region,
    "food_chain": natural_text.food_chain,
    "adjective": signs.adjective,
    "weather": signs.weather,
    "branches": passages.branches,
    "compass": social.compass,
    "sentence_kind": language.sentence_kind,
    "states": natural_images.states,
    "traffic_light": signs.traffic_light,
    "conversion": natural_text.conversion,
    "preposition": language.preposition,
    "bar_chart": social.bar_chart,
    "feelings": passages.feelings,
    "count": signs.count,
    "flag_stripes": signs.flag_stripes,
    "verb_tense": language.verb_tense,
    "thermometer": natural_images.thermometer,
}
"""Every family by name, in the fixed order in which a split's questions take turns."""

SPLITS = ("train", "val", "test")
_SHARES = {"test": range(20), "val": range(20, 30), "train": range(30, 100)}
_ATTEMPTS = 500


def _belongs(problem: Problem, split: str) -> bool:
    """Whether the question may be in the split.

    A text question's content hash picks its one split, so splits cannot meet. A question with a
    picture is its own by its pixels, and the writer checks that.
    """
    return problem.image is not None or int(problem.content_hash()[:8], 16) % 100 in _SHARES[split]


def family_stream(family: str, split: str, count: int, seed: int) -> list[Problem]:
    """Returns the family's first `count` questions of the split; shorter counts are prefixes."""
    rng = random.Random(f"{seed}/{split}/{family}")
    make = FAMILIES[family]
    seen: set[str] = set()
    problems: list[Problem] = []
    for _ in range(count):
        for _ in range(_ATTEMPTS):
            problem = make(rng)
            digest = problem.content_hash()
            if digest not in seen and _belongs(problem, split):
                break
        else:
            raise RuntimeError(f"family {family} has no more questions for split {split}")
        seen.add(digest)
        problems.append(problem)
    return problems


def generate(split: str, count: int, seed: int) -> list[Problem]:
    """Returns the first `count` questions of a split, the families taking turns.

    Same split and seed, same questions; a smaller count gives a prefix.
    """
    names = list(FAMILIES)
    per_family = -(-count // len(names))
    streams = [family_stream(name, split, per_family, seed) for name in names]
    return [streams[index % len(names)][index // len(names)] for index in range(count)]
