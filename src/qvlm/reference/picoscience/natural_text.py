"""Natural science questions in words."""

from __future__ import annotations

import random

from qvlm.reference.picoscience.problem import Kind, Problem, place
from qvlm.reference.picoscience.words import PEOPLE

NATURAL = "natural science"

_FOOD = Kind(
    "food_chain", NATURAL, "biology", "Ecosystems", "Interpret food chains", "grade5",
    "A food chain says which living thing eats which.",
)  # fmt: skip
_CONVERSION = Kind(
    "conversion", NATURAL, "units", "Measurement", "Convert metric units", "grade4",
    "Multiply by the number of small units in one large unit.",
)  # fmt: skip
_FOOD_CHAINS = (
    ("grass", "rabbit", "fox", "eagle"),
    ("algae", "snail", "crab", "gull"),
    ("leaf", "beetle", "frog", "snake"),
    ("seed", "mouse", "owl", "lynx"),
    ("plankton", "shrimp", "salmon", "bear"),
    ("clover", "deer", "wolf", "tiger"),
)
_PLACES = ("forest", "pond", "field", "valley", "park", "river", "marsh", "island")
_UNITS = (
    ("meter", "centimeters", 100),
    ("kilometer", "meters", 1000),
    ("kilogram", "grams", 1000),
    ("liter", "milliliters", 1000),
    ("centimeter", "millimeters", 10),
)


def food_chain(rng: random.Random) -> Problem:
    """Who eats, or is eaten by, one member of a food chain made of random links."""
    members = [rng.choice([chain[level] for chain in _FOOD_CHAINS]) for level in range(4)]
    links = [(members[level + 1], members[level]) for level in range(3)]
    rng.shuffle(links)
    place_name = rng.choice(_PLACES)
    told = " ".join(f"The {eater} eats the {food}." for eater, food in links)
    eater, food = rng.choice(links)
    if rng.random() < 0.5:
        question, correct = f"In the {place_name}, what eats the {food}?", eater
    else:
        question, correct = f"In the {place_name}, what does the {eater} eat?", food
    wrong = rng.sample([member for member in members if member not in (eater, food)], 2)
    choices, answer = place(rng, correct, wrong)
    return _FOOD.problem(question, choices, answer, f"The {eater} eats the {food}.", hint=told)


def conversion(rng: random.Random) -> Problem:
    """A whole number of a large unit in a small unit, with the factor in the hint."""
    large, small, factor = rng.choice(_UNITS)
    value = rng.randint(2, 99)
    wrong = [f"{value * other}" for other in (10, 100, 1000) if other != factor]
    choices, answer = place(rng, f"{value * factor}", wrong)
    question = rng.choice(
        [f"How many {small} are in {value} {large}s?", f"Convert {value} {large}s to {small}."]
    )
    who = rng.choice(PEOPLE)
    hint = rng.choice(
        [f"1 {large} is {factor} {small}.", f"{who} knows that 1 {large} is {factor} {small}."]
    )
    solution = f"{value} x {factor} = {value * factor}."
    return _CONVERSION.problem(question, choices, answer, solution, hint=hint)
