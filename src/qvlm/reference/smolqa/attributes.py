"""What can be asked about a picture, and the right answer, read off PicoScience's questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from qvlm.reference.picoscience.draw import COLOURS, SHAPES
from qvlm.reference.picoscience.problem import Problem
from qvlm.reference.smolqa.clothing import GARMENTS

Facts = dict[str, str]
"""Kind of question -> its answer for one picture."""

_LIGHTS = {"stop": "red", "slow": "yellow", "go": "green"}

ANSWERS: dict[str, tuple[str, ...]] = {
    "garment": GARMENTS,
    "figure_colour": tuple(COLOURS),
    "figure_shape": SHAPES,
    "sign_shape": SHAPES,
    "count": ("one", "two", "three", "four"),
    "weather": ("sunny", "cloudy", "rainy", "snowy"),
    "moon": ("full", "half", "crescent", "new"),
    "light": tuple(_LIGHTS.values()),
    "rule": tuple(_LIGHTS),
    "compass": ("north", "east", "south", "west"),
    "state": ("solid", "liquid", "gas"),
    "chart": ("rising", "falling", "steady"),
    "day": ("cold", "mild", "hot"),
    "beaker": ("left", "right"),
    "region": ("northwest", "northeast", "southwest", "southeast", "center"),
    "stripes": ("horizontal", "vertical", "diagonal"),
}
"""Kind of question -> all its possible answers."""


def _figure(problem: Problem) -> Facts:
    shape = next(name for name in SHAPES if name in problem.question)
    return {"figure_colour": _answer(problem), "figure_shape": shape}


def _answer(problem: Problem) -> str:
    return problem.choices[problem.answer]


def _plain(kind: str, remove: str = "") -> Callable[[Problem], Facts]:
    """The fact is the question's own answer, without a word that says nothing."""
    return lambda problem: {kind: _answer(problem).replace(remove, "").strip()}


def _traffic_light(problem: Problem) -> Facts:
    return {"light": _LIGHTS[_answer(problem)], "rule": _answer(problem)}


FAMILIES: Mapping[str, Callable[[Problem], Facts]] = {
    "adjective": _figure,
    "road_sign": _plain("sign_shape"),
    "count": _plain("count"),
    "weather": _plain("weather"),
    "moon": _plain("moon", "moon"),
    "traffic_light": _traffic_light,
    "compass": _plain("compass"),
    "states": _plain("state"),
    "bar_chart": _plain("chart"),
    "thermometer": _plain("day"),
    "beakers": _plain("beaker", "beaker"),
    "map_region": _plain("region", "the "),
    "flag_stripes": _plain("stripes"),
}
"""PicoScience's families whose pictures are asked about -> how to read a picture's facts."""


def facts_of(problem: Problem) -> Facts:
    """Returns what the picture of a question of one of `FAMILIES` shows."""
    return FAMILIES[problem.family](problem)
