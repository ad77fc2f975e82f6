"""Questions about one plain thing in a picture: what it is, what it shows, how many."""

from __future__ import annotations

import random

from PIL import ImageDraw

from qvlm.reference.picoscience.draw import COLOURS, SHAPES, grain, paper, scatter, shade, shape
from qvlm.reference.picoscience.problem import Kind, Problem, draw_choices

_MOON = Kind(
    "moon", "natural science", "earth-science", "Astronomy", "Identify phases of the moon",
    "grade4", "The part of the moon that we see lit is its phase.",
)  # fmt: skip
_WEATHER = Kind(
    "weather", "natural science", "earth-science", "Weather", "Read weather symbols", "grade1",
    "Weather maps use symbols for sun, cloud, rain and snow.",
)  # fmt: skip
_COUNT = Kind(
    "count", "natural science", "biology", "Cells", "Count cells", "grade1",
    "Counting cells is how a sample is described.",
)  # fmt: skip
_SIGN = Kind(
    "road_sign", "social science", "civics", "Road signs", "Describe a road sign", "grade1",
    "A road sign is known by its shape and colour.",
)  # fmt: skip
_LIGHT = Kind(
    "traffic_light", "social science", "civics", "Traffic rules", "Obey a traffic light", "grade1",
    "Red means stop, yellow means slow down and green means go.",
)  # fmt: skip
_STRIPES = Kind(
    "flag_stripes", "social science", "geography", "Flags", "Describe a flag", "grade2",
    "Stripes of a flag can run across, up and down, or slanted.",
)  # fmt: skip
_ADJECTIVE = Kind(
    "adjective", "language science", "grammar", "Adjectives", "Choose the adjective that fits",
    "grade1", "An adjective describes a thing.",
)  # fmt: skip

_PHASES = ("full moon", "half moon", "crescent moon", "new moon")
_WEATHERS = ("sunny", "cloudy", "rainy", "snowy")
_NUMBERS = ("one", "two", "three", "four")
_RULES = ("stop", "slow", "go")
_RUNS = ("horizontal", "vertical", "diagonal")


def moon(rng: random.Random) -> Problem:
    """The phase of a drawn moon."""
    choices, answer = draw_choices(rng, _PHASES, rng.choice([3, 4]))
    phase = choices[answer]
    image, pen = paper(rng)
    night = (rng.randint(10, 40), rng.randint(10, 40), rng.randint(50, 90))
    pen.rectangle((0, 0, 112, 112), fill=night)
    radius = rng.randint(26, 36)
    x, y = rng.randint(42, 70), rng.randint(42, 70)
    lit = (rng.randint(230, 255), rng.randint(230, 255), rng.randint(190, 220))
    dark = (75, 75, 95)
    box = (x - radius, y - radius, x + radius, y + radius)
    pen.ellipse(box, fill=dark if phase == "new moon" else lit)
    if phase == "half moon":
        pen.pieslice(box, *rng.choice([(90, 270), (-90, 90)]), fill=dark)
    elif phase == "crescent moon":
        shift = rng.choice([-1, 1]) * radius * 2 // 3
        pen.ellipse((box[0] + shift, box[1], box[2] + shift, box[3]), fill=night)
    question = rng.choice(["Which phase of the moon is shown?", "What does the moon look like?"])
    hint = rng.choice(["", "The sky is clear tonight."])
    return _MOON.problem(
        question, choices, answer, f"It is a {phase}.", hint=hint, image=grain(rng, image)
    )


def _cloud(rng: random.Random, pen: ImageDraw.ImageDraw, x: int, y: int) -> None:
    """Draws a grey cloud around (x, y), about 60 pixels wide."""
    grey = rng.randint(120, 160)
    for dx, dy, radius in ((-20, 4, 15), (0, -6, 20), (20, 4, 15)):
        shape(pen, "circle", x + dx, y + dy, radius, (grey, grey, grey))


def weather(rng: random.Random) -> Problem:
    """The weather that a symbol stands for."""
    choices, answer = draw_choices(rng, _WEATHERS, rng.choice([3, 4]))
    kind = choices[answer]
    image, pen = paper(rng)
    x, y = rng.randint(40, 72), rng.randint(34, 46)
    if kind == "sunny":
        shape(pen, "circle", x, y + 8, rng.randint(20, 27), shade(rng, "yellow"))
    else:
        _cloud(rng, pen, x, y)
    falling = {"rainy": "blue", "snowy": "black"}.get(kind)
    for column in range(4) if falling else ():
        for row in range(2):
            px, py = x - 24 + 16 * column, y + 32 + 20 * row + rng.randint(-3, 3)
            if falling == "blue":
                pen.line((px, py - 7, px - 4, py + 7), fill=shade(rng, "blue"), width=5)
            else:
                shape(pen, "circle", px, py, 4, (255, 255, 255))
                pen.ellipse((px - 5, py - 5, px + 5, py + 5), outline=(90, 90, 90), width=2)
    question = rng.choice(["What is the weather?", "Which weather does the symbol show?"])
    solution = f"The weather is {kind}."
    return _WEATHER.problem(question, choices, answer, solution, image=grain(rng, image))


def count(rng: random.Random) -> Problem:
    """How many cells there are, one to four."""
    choices, answer = draw_choices(rng, _NUMBERS, 3)
    number = _NUMBERS.index(choices[answer]) + 1
    image, pen = paper(rng)
    kind, fill = rng.choice(SHAPES), shade(rng, rng.choice(list(COLOURS)))
    for x, y in scatter(rng, number, (2, 2, 110, 110), 36):
        shape(pen, kind, x, y, rng.randint(11, 13), fill)
    question = rng.choice(["How many cells are there?", "Count the cells."])
    hint = rng.choice(["", "This is a sample under a microscope."])
    solution = f"The number of cells is {choices[answer]}."
    return _COUNT.problem(question, choices, answer, solution, hint=hint, image=grain(rng, image))


def road_sign(rng: random.Random) -> Problem:
    """The shape of a road sign."""
    choices, answer = draw_choices(rng, SHAPES, 3)
    image, pen = paper(rng)
    x, y, radius = rng.randint(38, 74), rng.randint(38, 54), rng.randint(24, 32)
    pen.line((x, y, x, 111), fill=(90, 90, 90), width=7)
    shape(pen, choices[answer], x, y, radius, shade(rng, rng.choice(list(COLOURS))))
    question = rng.choice(["What shape is the road sign?", "Which shape does the sign have?"])
    solution = f"The sign is a {choices[answer]}."
    return _SIGN.problem(question, choices, answer, solution, image=grain(rng, image))


def traffic_light(rng: random.Random) -> Problem:
    """What a driver must do at a traffic light."""
    choices, answer = draw_choices(rng, _RULES, 3)
    lit = _RULES.index(choices[answer])
    image, pen = paper(rng)
    x, y = rng.randint(34, 78), rng.randint(50, 62)
    pen.rectangle((x - 19, y - 48, x + 19, y + 48), fill=(50, 50, 50))
    for index, name in enumerate(("red", "yellow", "green")):
        fill = shade(rng, name) if index == lit else (95, 95, 95)
        shape(pen, "circle", x, y + 31 * (index - 1), 13, fill)
    question = rng.choice(["What must the driver do?", "What does the traffic light tell us?"])
    hint = rng.choice(["", "A car comes to a crossing."])
    name = ("red", "yellow", "green")[lit]
    solution = f"The light is {name}, so {choices[answer]}."
    return _LIGHT.problem(question, choices, answer, solution, hint=hint, image=grain(rng, image))


def flag_stripes(rng: random.Random) -> Problem:
    """Which way the stripes of a flag run."""
    choices, answer = draw_choices(rng, _RUNS, 3)
    run = choices[answer]
    image, pen = paper(rng)
    first, second = (shade(rng, name) for name in rng.sample(list(COLOURS), 2))
    width, height = rng.randint(76, 96), rng.randint(70, 90)
    x, y = rng.randint(4, 108 - width), rng.randint(4, 108 - height)
    flag = image.crop((0, 0, width, height))
    brush = ImageDraw.Draw(flag)
    brush.rectangle((0, 0, width, height), fill=first)
    pitch, start = rng.randint(26, 34), rng.randint(0, 12)
    slant = rng.choice([-1, 1])
    for offset in range(start - 3 * pitch, 2 * max(width, height), pitch):
        if run == "horizontal":
            brush.rectangle((0, offset, width, offset + pitch // 2), fill=second)
        elif run == "vertical":
            brush.rectangle((offset, 0, offset + pitch // 2, height), fill=second)
        else:
            left, right = (offset, offset - height)[::slant]
            half = pitch // 2 + 2
            brush.polygon(
                [(left, 0), (left + half, 0), (right + half, height), (right, height)],
                fill=second,
            )
    image.paste(flag, (x, y))
    pen.rectangle((x, y, x + width, y + height), outline=(60, 60, 60), width=2)
    question = rng.choice(["Which way do the stripes run?", "How are the flag's stripes drawn?"])
    solution = f"The stripes are {run}."
    return _STRIPES.problem(question, choices, answer, solution, image=grain(rng, image))


def adjective(rng: random.Random) -> Problem:
    """The colour of the one thing in the picture."""
    choices, answer = draw_choices(rng, list(COLOURS), rng.choice([3, 4]))
    image, pen = paper(rng)
    kind = rng.choice(SHAPES)
    x, y, radius = rng.randint(36, 76), rng.randint(36, 76), rng.randint(16, 32)
    shape(pen, kind, x, y, radius, shade(rng, choices[answer]))
    question = rng.choice([f"Which adjective fits the {kind}?", f"The {kind} is ___."])
    hint = rng.choice(["", "Complete the caption of the picture."])
    solution = f"The {kind} is {choices[answer]}."
    return _ADJECTIVE.problem(
        question, choices, answer, solution, hint=hint, image=grain(rng, image)
    )
