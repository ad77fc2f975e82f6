"""Natural science questions about a picture."""

from __future__ import annotations

import random

from qvlm.reference.picoscience.draw import COLOURS, grain, paper, scatter, shade, shape
from qvlm.reference.picoscience.problem import Kind, Problem, draw_choices

NATURAL = "natural science"

_BEAKERS = Kind(
    "beakers", NATURAL, "chemistry", "Solutions", "Compare concentrations of solutions", "grade7",
    "Concentration is the number of solute particles in a volume of solution.",
)  # fmt: skip
_THERMOMETER = Kind(
    "thermometer", NATURAL, "physics", "Thermal energy", "Read a thermometer", "grade2",
    "A thermometer shows temperature by the height of its liquid.",
)  # fmt: skip
_PUNNETT = Kind(
    "punnett", NATURAL, "biology", "Genes to traits", "Read a Punnett square", "grade8",
    "Each box of a Punnett square is one equally likely kind of offspring.",
)  # fmt: skip
_STATES = Kind(
    "states", NATURAL, "chemistry", "States of matter", "Identify states by particles", "grade5",
    "Particles are ordered in a solid, touching in a liquid and far apart in a gas.",
)  # fmt: skip

_DAYS = {"cold": (0, 10), "mild": (21, 29), "hot": (40, 50)}
"""Degrees from and to."""
_SHARES = {"none": 0, "half": 2, "all": 4}
"""Boxes out of four."""


def beakers(rng: random.Random) -> Problem:
    """Which of two beakers has more particles in the same volume."""
    choices, answer = draw_choices(rng, ["left beaker", "right beaker"], 2)
    counts = {choices[answer]: rng.randint(7, 10), choices[1 - answer]: rng.randint(1, 3)}
    left, right = counts["left beaker"], counts["right beaker"]
    name = rng.choice(["red", "blue", "green", "purple"])
    image, pen = paper(rng)
    top = rng.randint(14, 24)
    water = (rng.randint(170, 200), rng.randint(205, 230), rng.randint(235, 250))
    for x, count in ((5, left), (60, right)):
        pen.rectangle((x, top + 10, x + 46, top + 76), fill=water)
        pen.line([(x, top), (x, top + 76), (x + 46, top + 76), (x + 46, top)], (60, 60, 60), 2)
        for px, py in scatter(rng, count, (x + 1, top + 11, x + 46, top + 75), 15):
            shape(pen, "circle", px, py, 5, shade(rng, name))
    question = rng.choice(
        ["Which solution has a higher concentration?", f"Which beaker has more {name} particles?"]
    )
    hint = rng.choice(["", "The two solutions have the same volume."])
    more = "left" if left > right else "right"
    solution = f"There are {left} on the left and {right} on the right. The {more} has more."
    return _BEAKERS.problem(question, choices, answer, solution, hint=hint, image=grain(rng, image))


def thermometer(rng: random.Random) -> Problem:
    """Whether a thermometer with a scale from 0 to 50 shows a cold, mild or hot day."""
    choices, answer = draw_choices(rng, list(_DAYS), 3)
    value = rng.randint(*_DAYS[choices[answer]])
    image, pen = paper(rng)
    x, base = rng.randint(30, 80), rng.randint(92, 96)
    level = base - 14 - value * 1.3
    pen.rectangle((x - 6, base - 86, x + 6, base), fill=(255, 255, 255), outline=(90, 90, 90))
    liquid = shade(rng, rng.choice(["red", "blue"]))
    pen.ellipse((x - 11, base - 8, x + 11, base + 14), fill=liquid)
    pen.rectangle((x - 4, round(level), x + 4, base), fill=liquid)
    for tick in range(6):
        y = base - 14 - 13 * tick
        pen.line((x + 8, y, x + 17, y), fill=(60, 60, 60), width=3)
    question = rng.choice(["What kind of day does the thermometer show?", "How warm is it?"])
    hint = rng.choice(["", "The scale goes from 0 to 50 degrees."])
    solution = f"The thermometer shows a {choices[answer]} day."
    return _THERMOMETER.problem(
        question, choices, answer, solution, hint=hint, image=grain(rng, image)
    )


def punnett(rng: random.Random) -> Problem:
    """Whether none, half or all boxes of a Punnett square have one of two flower colours."""
    choices, answer = draw_choices(rng, list(_SHARES), 3)
    count = _SHARES[choices[answer]]
    wanted, other = rng.sample(["red", "blue", "yellow", "purple"], 2)
    image, pen = paper(rng)
    pitch = rng.randint(36, 42)
    x0, y0 = rng.randint(6, 104 - 2 * pitch), rng.randint(6, 104 - 2 * pitch)
    boxes = rng.sample(range(4), 4)
    for index in range(4):
        x, y = x0 + (index % 2) * pitch, y0 + (index // 2) * pitch
        pen.rectangle((x, y, x + pitch, y + pitch), outline=(50, 50, 50), width=2)
        fill = shade(rng, wanted if boxes[index] < count else other)
        shape(pen, "circle", x + pitch // 2, y + pitch // 2, pitch // 3, fill)
    question = rng.choice(
        [f"How many offspring have {wanted} flowers?", f"How much of the offspring is {wanted}?"]
    )
    hint = rng.choice(["", "Each box shows one kind of offspring."])
    solution = f"There are {count} {wanted} and {4 - count} {other}, so {choices[answer]}."
    return _PUNNETT.problem(question, choices, answer, solution, hint=hint, image=grain(rng, image))


def _particles(rng: random.Random, state: str) -> list[tuple[int, int]]:
    """Returns particle centres inside a 96x88 box at (8, 12) for the state of matter."""
    if state == "gas":
        return scatter(rng, rng.randint(5, 8), (10, 14, 102, 100), 22)
    rows = rng.randint(3, 4)
    points = [(x, 93 - 13 * row) for row in range(rows) for x in range(16, 100, 13)]
    if state == "solid":
        return points
    return [(x + rng.randint(-5, 4), y + rng.randint(-5, 4)) for x, y in points]


def states(rng: random.Random) -> Problem:
    """The state of matter that a box of particles shows."""
    choices, answer = draw_choices(rng, ["solid", "liquid", "gas"], 3)
    state = choices[answer]
    image, pen = paper(rng)
    pen.rectangle((7, 10, 105, 102), outline=(60, 60, 60), width=2)
    name = rng.choice(list(COLOURS))
    fill = shade(rng, name)
    for x, y in _particles(rng, state):
        shape(pen, "circle", x, y, 5, fill)
    question = rng.choice(
        ["Which state of matter is shown?", "What state of matter do the particles show?"]
    )
    how = {
        "solid": "The particles are ordered.",
        "liquid": "The particles touch without order.",
        "gas": "The particles are far apart.",
    }
    return _STATES.problem(
        question, choices, answer, f"{how[state]} It is a {state}.", image=grain(rng, image)
    )
