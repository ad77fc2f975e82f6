"""Questions about a sentence or two: who does what in government, and how someone feels."""

from __future__ import annotations

import random

from qvlm.reference.picoscience.problem import Kind, Problem, draw_choices
from qvlm.reference.picoscience.words import PEOPLE, WHERE

_BRANCH = Kind(
    "branches", "social science", "civics", "Government", "Identify branches of government",
    "grade6", "One branch makes laws, one carries them out and one judges cases.",
)  # fmt: skip
_FEELING = Kind(
    "feelings", "language science", "reading-comp", "Inference", "Infer a character's feelings",
    "grade2", "What characters do tells how they feel.",
)  # fmt: skip

_BRANCHES = {
    "legislative": ("votes on new laws", "writes a law", "debates a bill", "speaks in parliament"),
    "executive": ("leads the army", "carries out the laws", "signs a treaty", "runs a ministry"),
    "judicial": ("judges a case", "sits in a court", "hears a trial", "decides an appeal"),
}
_FEELINGS = {
    "happy": ("smiles and sings", "laughs out loud", "dances with joy", "claps and cheers"),
    "sad": ("cries alone", "weeps over a letter", "sheds tears", "misses an old friend"),
    "afraid": (
        "shakes with fear",
        "hides from the thunder",
        "runs from a wolf",
        "fears a bat",
    ),
    "tired": ("yawns again", "falls asleep", "can not stay awake", "needs a long nap"),
}
_COUNTRIES = ("Peru", "Chile", "Kenya", "Norway", "Japan", "India", "Spain", "Poland", "Egypt")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def branches(rng: random.Random) -> Problem:
    """The branch of government in which someone works."""
    choices, answer = draw_choices(rng, list(_BRANCHES), 3)
    who, day = rng.choice(PEOPLE), rng.choice(_DAYS)
    task = rng.choice(_BRANCHES[choices[answer]])
    hint = f"On {day} {who} {task} in {rng.choice(_COUNTRIES)}."
    question = rng.choice(
        [f"Which branch of government is {who} in?", f"In which branch does {who} work?"]
    )
    solution = f"This is the {choices[answer]} branch."
    return _BRANCH.problem(question, choices, answer, solution, hint=hint)


def feelings(rng: random.Random) -> Problem:
    """How the character of a sentence feels."""
    choices, answer = draw_choices(rng, list(_FEELINGS), rng.choice([3, 4]))
    who, where = rng.choice(PEOPLE), rng.choice(WHERE)
    hint = f"{who} {rng.choice(_FEELINGS[choices[answer]])} {where}."
    question = rng.choice([f"How does {who} feel?", f"Which word tells how {who} feels?"])
    return _FEELING.problem(question, choices, answer, f"{who} is {choices[answer]}.", hint=hint)
