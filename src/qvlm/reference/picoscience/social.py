"""Social science questions: maps, charts and flags as pictures, history and trade in words."""

from __future__ import annotations

import math
import random

from qvlm.reference.picoscience.draw import COLOURS, grain, paper, shade
from qvlm.reference.picoscience.problem import Kind, Problem, draw_choices, place
from qvlm.reference.picoscience.words import GOODS, PEOPLE, SERVICES

SOCIAL = "social science"

_REGION = Kind(
    "map_region", SOCIAL, "geography", "Maps", "Find a region on a map", "grade3",
    "On most maps north is at the top and east is on the right.", self_contained=False,
)  # fmt: skip
_COMPASS = Kind(
    "compass", SOCIAL, "geography", "Maps", "Use a compass", "grade2",
    "North is up, east is right, south is down and west is left.",
)  # fmt: skip
_CHART = Kind(
    "bar_chart", SOCIAL, "economics", "Charts", "Read a bar chart", "grade3",
    "The taller the bar, the larger the amount.",
)  # fmt: skip
_TRADE = Kind(
    "goods", SOCIAL, "economics", "Goods and services", "Tell goods from services", "grade2",
    "A good is a thing you can own. A service is work done for someone.", self_contained=False,
)  # fmt: skip

_TRENDS = {
    "rising": ((12, 20), (16, 22)),
    "falling": ((80, -20), (84, -22)),
    "steady": ((30, 0), (50, 0), (75, 0)),
}
"""Height of the first bar and what each next one adds, pixels; drawn from these."""
_REGIONS = ("northwest", "northeast", "southwest", "southeast", "center")


def map_region(rng: random.Random) -> Problem:
    """Which part of a drawn map is highlighted."""
    choices, answer = draw_choices(rng, [f"the {name}" for name in _REGIONS], 3)
    image, pen = paper(rng)
    x0, y0 = rng.randint(3, 12), rng.randint(3, 12)
    width, height = rng.randint(86, 96), rng.randint(86, 96)
    land = (rng.randint(190, 215), rng.randint(200, 220), rng.randint(160, 190))
    name = rng.choice(["green", "red", "blue", "purple"])
    boxes = {
        "northwest": (0, 0, 0.5, 0.5),
        "northeast": (0.5, 0, 1, 0.5),
        "southwest": (0, 0.5, 0.5, 1),
        "southeast": (0.5, 0.5, 1, 1),
        "center": (0.28, 0.28, 0.72, 0.72),
    }
    for region in _REGIONS:
        left, top, right, bottom = boxes[region]
        fill = shade(rng, name) if choices[answer] == f"the {region}" else land
        box = (x0 + left * width, y0 + top * height, x0 + right * width, y0 + bottom * height)
        pen.rectangle(box, fill=fill, outline=(90, 90, 90), width=2)
    question = rng.choice(
        [f"Which region of the map is {name}?", "Which region of the map is highlighted?"]
    )
    solution = f"The {name} region is in {choices[answer]}."
    return _REGION.problem(question, choices, answer, solution, image=grain(rng, image))


def compass(rng: random.Random) -> Problem:
    """The direction that a compass needle points."""
    names = ("north", "east", "south", "west")
    choices, answer = draw_choices(rng, names, rng.choice([3, 4]))
    angle = math.radians(90 * names.index(choices[answer]) + rng.uniform(-12, 12))
    image, pen = paper(rng)
    x, y, radius = rng.randint(50, 62), rng.randint(50, 62), rng.randint(40, 47)
    box = (x - radius, y - radius, x + radius, y + radius)
    pen.ellipse(box, fill=(250, 250, 250), outline=(70, 70, 70), width=3)
    fill = shade(rng, rng.choice(list(COLOURS)))
    dx, dy = math.sin(angle), -math.cos(angle)
    tip = (x + dx * (radius - 4), y + dy * (radius - 4))
    pen.polygon([tip, (x - dy * 14, y + dx * 14), (x + dy * 14, y - dx * 14)], fill=fill)
    question = rng.choice(
        ["In which direction does the needle point?", "Which way does the compass point?"]
    )
    solution = f"The needle points {choices[answer]}."
    hint = rng.choice(["", "North is at the top of the map."])
    return _COMPASS.problem(question, choices, answer, solution, hint=hint, image=grain(rng, image))


def bar_chart(rng: random.Random) -> Problem:
    """Whether four bars rise, fall or stay the same."""
    choices, answer = draw_choices(rng, list(_TRENDS), 3)
    image, pen = paper(rng)
    x, base, width = rng.randint(6, 14), rng.randint(98, 104), rng.randint(16, 19)
    fill = shade(rng, rng.choice(list(COLOURS)))
    first, step = rng.choice(_TRENDS[choices[answer]])
    for index in range(4):
        top = base - first - step * index - rng.randint(-3, 3)
        x0 = x + index * (width + 6)
        pen.rectangle((x0, top, x0 + width, base), fill=fill)
    pen.line((2, base + 1, 110, base + 1), fill=(60, 60, 60), width=3)
    question = rng.choice(["How do the sales change?", "What do the bars of the chart do?"])
    hint = rng.choice(["", "Each bar is one year."])
    solution = f"The bars are {choices[answer]}."
    return _CHART.problem(question, choices, answer, solution, hint=hint, image=grain(rng, image))


def goods(rng: random.Random) -> Problem:
    """Which choice is a good and which are services, or the other way round."""
    service = rng.random() < 0.5
    right, wrong = (SERVICES, GOODS) if service else (GOODS, SERVICES)
    correct = rng.choice(right)
    choices, answer = place(rng, correct, rng.sample(wrong, 2))
    word = "service" if service else "good"
    who = rng.choice(PEOPLE)
    question = rng.choice(
        [f"Which of these is a {word}?", f"{who} pays for a {word}. Which is it?"]
    )
    return _TRADE.problem(question, choices, answer, f"The {word} is {correct}.")
