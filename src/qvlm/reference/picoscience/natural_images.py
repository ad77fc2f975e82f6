"""Natural science questions about a picture."""

from __future__ import annotations

import random

from PIL import ImageDraw

from qvlm.reference.picoscience.draw import COLOURS, SHAPES, grain, paper, scatter, shade, shape
from qvlm.reference.picoscience.problem import Kind, Problem, draw_choices

NATURAL = "natural science"

_BEAKERS = Kind(
    "beakers", NATURAL, "chemistry", "Solutions", "Compare concentrations of solutions", "grade7",
    "Concentration is the number of solute particles in a volume of solution.",
)  # fmt: skip
_MAGNETS = Kind(
    "magnets", NATURAL, "physics", "Magnets", "Predict attraction of magnets", "grade4",
    "Opposite poles attract and like poles repel.",
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
_CELLS = Kind(
    "cells", NATURAL, "biology", "Cells", "Count cells of one colour", "grade1",
    "Counting cells is how a sample is described.",
)  # fmt: skip


def beakers(rng: random.Random) -> Problem:
    """Which of two beakers has more (or fewer) particles."""
    higher = rng.random() < 0.5
    choices, answer = draw_choices(rng, ["the left solution", "the right solution"], 2)
    few = rng.randint(1, 4)
    counts = {choices[answer]: few + rng.randint(3, 5), choices[1 - answer]: few}
    if not higher:
        counts = {choices[answer]: few, choices[1 - answer]: counts[choices[answer]]}
    left, right = counts["the left solution"], counts["the right solution"]
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
        [
            f"Which solution has a {'higher' if higher else 'lower'} concentration?",
            f"Which solution has {'more' if higher else 'fewer'} {name} particles?",
        ]
    )
    hint = rng.choice(["", "The two solutions have the same volume."])
    solution = f"The left solution has {left} particles. The right solution has {right} particles."
    return _BEAKERS.problem(question, choices, answer, solution, hint=hint, image=grain(rng, image))


def magnets(rng: random.Random) -> Problem:
    """Whether two bar magnets with coloured poles attract or repel."""
    choices, answer = draw_choices(rng, ["attract", "repel"], 2)
    first = rng.random() < 0.5
    flipped = (choices[answer] == "repel") != first
    left = ("red", "blue") if first else ("blue", "red")
    right = ("red", "blue") if flipped else ("blue", "red")
    image, pen = paper(rng)
    width, height = rng.randint(20, 22), rng.randint(20, 28)
    x, y = rng.randint(3, 8), rng.randint(20, 60)
    gap = rng.randint(8, 14)
    for start, poles in ((x, left), (x + 2 * width + gap, right)):
        for index, pole in enumerate(poles):
            x0 = start + index * width
            pen.rectangle((x0, y, x0 + width - 1, y + height), fill=shade(rng, pole))
    question = rng.choice(
        ["Will these magnets attract or repel each other?", "What will these two magnets do?"]
    )
    facing = f"The poles that face each other are {left[1]} and {right[0]}."
    return _MAGNETS.problem(
        question, choices, answer, f"{facing} The magnets {choices[answer]}.",
        hint="North poles are red and south poles are blue.", image=grain(rng, image),
    )  # fmt: skip


def thermometer(rng: random.Random) -> Problem:
    """The temperature a thermometer with a scale from 0 to 50 shows."""
    choices, answer = draw_choices(rng, [f"{value} degrees" for value in range(0, 60, 10)], 3)
    value = int(choices[answer].split()[0])
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
    question = rng.choice(["What temperature does the thermometer show?", "How warm is it?"])
    hint = rng.choice(["", "The scale goes from 0 to 50 degrees."])
    solution = f"The thermometer shows {value} degrees."
    return _THERMOMETER.problem(
        question, choices, answer, solution, hint=hint, image=grain(rng, image)
    )


def punnett(rng: random.Random) -> Problem:
    """How many of the four boxes of a Punnett square have one of two flower colours."""
    choices, answer = draw_choices(rng, [f"{count} out of 4" for count in range(5)], 3)
    count = int(choices[answer][0])
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
        [f"How many offspring have {wanted} flowers?", f"What is the chance of {wanted} flowers?"]
    )
    hint = rng.choice(["", "Each box shows one kind of offspring."])
    solution = f"{wanted}: {count} out of 4. {other}: {4 - count} out of 4."
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


def _draw_cells(
    rng: random.Random, pen: ImageDraw.ImageDraw, wanted: int, name: str, other: str
) -> None:
    """Scatters `wanted` shapes of one colour and one to three of another."""
    kind = rng.choice(SHAPES)
    total = wanted + rng.randint(1, 3)
    for index, (x, y) in enumerate(scatter(rng, total, (2, 2, 110, 110), 27)):
        shape(pen, kind, x, y, rng.randint(8, 10), shade(rng, name if index < wanted else other))


def cells(rng: random.Random) -> Problem:
    """How many cells of one colour are in the picture, one to five."""
    choices, answer = draw_choices(rng, [str(count) for count in range(1, 6)], 3)
    wanted = int(choices[answer])
    name, other = rng.sample(list(COLOURS), 2)
    image, pen = paper(rng)
    _draw_cells(rng, pen, wanted, name, other)
    question = rng.choice([f"How many {name} cells are there?", f"Count the {name} cells."])
    hint = rng.choice(["", "This is a sample under a microscope."])
    counted = f"is 1 {name} cell" if wanted == 1 else f"are {wanted} {name} cells"
    solution = f"There {counted}."
    return _CELLS.problem(question, choices, answer, solution, hint=hint, image=grain(rng, image))
