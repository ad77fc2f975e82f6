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
_FLAGS = Kind(
    "flags", SOCIAL, "civics", "Flags", "Describe a flag", "grade1",
    "Many flags are three stripes of colour.",
)  # fmt: skip
_TIMELINE = Kind(
    "timeline", SOCIAL, "us-history", "Timelines", "Order events in time", "grade4",
    "The smaller the year, the earlier the event.",
)  # fmt: skip
_TRADE = Kind(
    "goods", SOCIAL, "economics", "Goods and services", "Tell goods from services", "grade2",
    "A good is a thing you can own. A service is work done for someone.", self_contained=False,
)  # fmt: skip

_REGIONS = ("northwest", "northeast", "southwest", "southeast", "center")
_BUILDINGS = (
    "school", "bridge", "church", "museum", "market", "library", "station", "castle", "mill",
    "harbor", "theater", "hospital",
)  # fmt: skip


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
    """The direction that an arrow on a map points."""
    names = ("north", "east", "south", "west")
    choices, answer = draw_choices(rng, names, rng.choice([3, 4]))
    angle = math.radians(90 * names.index(choices[answer]) + rng.uniform(-12, 12))
    image, pen = paper(rng)
    x, y = rng.randint(48, 64), rng.randint(48, 64)
    length = rng.randint(34, 42)
    name = rng.choice(list(COLOURS))
    fill = shade(rng, name)
    dx, dy = math.sin(angle), -math.cos(angle)
    tip = (x + dx * length, y + dy * length)
    neck = (x + dx * (length - 22), y + dy * (length - 22))
    pen.line((x - dx * length, y - dy * length, *neck), fill=fill, width=rng.randint(7, 10))
    pen.polygon([tip, (neck[0] - dy * 17, neck[1] + dx * 17),
                 (neck[0] + dy * 17, neck[1] - dx * 17)], fill=fill)  # fmt: skip
    question = rng.choice(
        ["In which direction does the arrow point?", "Which way does the arrow go?"]
    )
    solution = f"The arrow points {choices[answer]}."
    hint = rng.choice(["", "North is at the top of the map."])
    return _COMPASS.problem(question, choices, answer, solution, hint=hint, image=grain(rng, image))


def bar_chart(rng: random.Random) -> Problem:
    """Which of three coloured bars is the tallest or the shortest."""
    names = rng.sample(list(COLOURS), 3)
    choices, answer = draw_choices(rng, names, 3)
    heights = sorted(rng.sample(range(1, 7), 3))
    tallest = rng.random() < 0.5
    value = heights.pop() if tallest else heights.pop(0)
    rng.shuffle(heights)
    tall = {name: heights.pop() for name in names if name != choices[answer]}
    tall[choices[answer]] = value
    image, pen = paper(rng)
    x, base, width = rng.randint(8, 18), rng.randint(98, 104), rng.randint(18, 22)
    for index, name in enumerate(names):
        x0 = x + index * (width + 10)
        pen.rectangle((x0, base - 14 * tall[name], x0 + width, base), fill=shade(rng, name))
    pen.line((2, base + 1, 110, base + 1), fill=(60, 60, 60), width=3)
    word = "tallest" if tallest else "shortest"
    question = rng.choice([f"Which bar is the {word}?", f"Which color has the {word} bar?"])
    hint = rng.choice(["", "The bars show the rainfall in three towns."])
    order = sorted(names, key=lambda name: -tall[name])
    solution = f"From tallest to shortest the bars are {order[0]}, {order[1]}, {order[2]}."
    return _CHART.problem(question, choices, answer, solution, hint=hint, image=grain(rng, image))


def flags(rng: random.Random) -> Problem:
    """The colour of one of a flag's three stripes."""
    upright = rng.random() < 0.5
    places = ("left", "middle", "right") if upright else ("top", "middle", "bottom")
    names = rng.sample(list(COLOURS), 3)
    index = rng.randrange(3)
    choices, answer = place(rng, names[index], [name for name in names if name != names[index]])
    image, pen = paper(rng)
    width, height = rng.randint(78, 96), rng.randint(66, 90)
    x, y = rng.randint(4, 108 - width), rng.randint(4, 108 - height)
    for part, name in enumerate(names):
        start, end = part / 3, (part + 1) / 3
        if upright:
            box = (x + start * width, y, x + end * width - 1, y + height)
        else:
            box = (x, y + start * height, x + width, y + end * height - 1)
        pen.rectangle(box, fill=shade(rng, name))
    question = rng.choice(
        [
            f"What color is the {places[index]} stripe of the flag?",
            f"Which color is the {places[index]} stripe?",
        ]
    )
    order = ", ".join(names)
    solution = f"From {places[0]} to {places[2]} the stripes are {order}."
    return _FLAGS.problem(question, choices, answer, solution, image=grain(rng, image))


def timeline(rng: random.Random) -> Problem:
    """Which of three buildings is the oldest or the newest."""
    names = rng.sample(_BUILDINGS, 3)
    years = [1000 + 100 * century for century in rng.sample(range(1, 10), 3)]
    oldest = rng.random() < 0.5
    correct = names[years.index(min(years) if oldest else max(years))]
    hint = " ".join(f"The {name} is from {year}." for name, year in zip(names, years, strict=True))
    wrong = [f"the {name}" for name in names if name != correct]
    choices, answer = place(rng, f"the {correct}", wrong)
    word = "first" if oldest else "last"
    question = rng.choice([f"Which was built {word}?", f"What did people build {word}?"])
    year = min(years) if oldest else max(years)
    solution = f"The {word} year is {year}, the {correct}."
    return _TIMELINE.problem(question, choices, answer, solution, hint=hint)


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
