"""Drawing on a small seeded canvas: tinted paper, coloured shapes, grain.

Nothing is written in glyphs, so pictures do not depend on a font, and every detail that matters
is at least 6 of 112 pixels wide, so it survives the model's 56x56 input.
"""

from __future__ import annotations

import random

from PIL import Image, ImageDraw

SIZE = 112
"""Width and height of every picture, pixels."""

Colour = tuple[int, int, int]

COLOURS: dict[str, Colour] = {
    "red": (214, 40, 40),
    "blue": (40, 80, 214),
    "green": (30, 150, 60),
    "yellow": (236, 200, 30),
    "purple": (140, 50, 170),
    "black": (30, 30, 30),
}

SHAPES = ("circle", "square", "triangle")


def shade(rng: random.Random, name: str) -> Colour:
    """Returns the named colour with a small random change in each channel."""
    red, green, blue = COLOURS[name]
    return (
        min(255, max(0, red + rng.randint(-14, 14))),
        min(255, max(0, green + rng.randint(-14, 14))),
        min(255, max(0, blue + rng.randint(-14, 14))),
    )


def paper(rng: random.Random) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """Returns a new canvas with a light random tint, and its pen."""
    tint = (rng.randint(222, 250), rng.randint(222, 250), rng.randint(222, 250))
    image = Image.new("RGB", (SIZE, SIZE), tint)
    return image, ImageDraw.Draw(image)


def grain(rng: random.Random, image: Image.Image) -> Image.Image:
    """Returns the image under faint smooth noise, which makes each picture's pixels its own."""
    cells = 14
    noise = Image.frombytes("RGB", (cells, cells), rng.randbytes(3 * cells * cells))
    return Image.blend(image, noise.resize((SIZE, SIZE), Image.Resampling.BILINEAR), 0.07)


def shape(pen: ImageDraw.ImageDraw, kind: str, x: int, y: int, radius: int, fill: Colour) -> None:
    """Draws a filled circle, square or triangle centred on (x, y); lengths in pixels."""
    box = (x - radius, y - radius, x + radius, y + radius)
    if kind == "circle":
        pen.ellipse(box, fill=fill)
    elif kind == "square":
        pen.rectangle(box, fill=fill)
    else:
        pen.polygon(
            [(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], fill=fill
        )


def scatter(
    rng: random.Random, count: int, box: tuple[int, int, int, int], cell: int
) -> list[tuple[int, int]]:
    """Returns `count` points inside the box, one per cell of a jittered grid, so none overlap.

    `cell` is the grid's pitch in pixels; points stay 36 % of a pitch clear of their cell's edge.
    """
    left, top, right, bottom = box
    columns, rows = (right - left) // cell, (bottom - top) // cell
    margin = 0.36 * cell
    points = []
    for index in rng.sample(range(columns * rows), count):
        x = left + (index % columns) * cell + rng.uniform(margin, cell - margin)
        y = top + (index // columns) * cell + rng.uniform(margin, cell - margin)
        points.append((round(x), round(y)))
    return points
