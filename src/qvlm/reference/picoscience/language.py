"""Language science questions: words, sentences and captions of pictures."""

from __future__ import annotations

import random

from qvlm.reference.picoscience.draw import COLOURS, SHAPES, grain, paper, shade, shape
from qvlm.reference.picoscience.problem import Kind, Problem, draw_choices, place
from qvlm.reference.picoscience.words import (
    ALIKE,
    NOUNS,
    OPPOSITES,
    VERBS,
    WHERE,
)  # fmt: skip

LANGUAGE = "language science"

_MEANING = Kind(
    "word_meaning", LANGUAGE, "vocabulary", "Synonyms and antonyms",
    "Choose the synonym or antonym", "grade2",
    "Synonyms mean nearly the same. Antonyms mean the opposite.", self_contained=False,
)  # fmt: skip
_SENTENCE = Kind(
    "sentence_kind", LANGUAGE, "grammar", "Sentences", "Identify the kind of sentence", "grade3",
    "A sentence can tell, ask, command or exclaim.", self_contained=False,
)  # fmt: skip
_TENSE = Kind(
    "verb_tense", LANGUAGE, "grammar", "Verbs", "Identify the verb tense", "grade3",
    "Tense says when an action happens.",
)  # fmt: skip
_PREPOSITION = Kind(
    "preposition", LANGUAGE, "grammar", "Prepositions", "Choose the preposition that fits",
    "grade1", "A preposition says where one thing is from another.",
)  # fmt: skip


def word_meaning(rng: random.Random) -> Problem:
    """The synonym or antonym of a word among three words."""
    opposite = rng.random() < 0.5
    pairs = OPPOSITES if opposite else ALIKE
    word, correct = rng.sample(rng.choice(pairs), 2)
    others = [other for pair in OPPOSITES + ALIKE if word not in pair for other in pair]
    choices, answer = place(rng, correct, rng.sample(others, 2))
    relation = "the opposite of" if opposite else "nearly the same as"
    question = rng.choice(
        [f"Which word means {relation} {word}?", f"Choose the word that means {relation} {word}."]
    )
    solution = f"The word {correct} means {relation} {word}."
    return _MEANING.problem(question, choices, answer, solution)


def sentence_kind(rng: random.Random) -> Problem:
    """Whether a sentence is declarative, interrogative, imperative or exclamatory."""
    kinds = ("declarative", "interrogative", "imperative", "exclamatory")
    choices, answer = draw_choices(rng, kinds, rng.choice([3, 4]))
    noun, verb, where = rng.choice(NOUNS), rng.choice(list(VERBS)), rng.choice(WHERE)
    sentence = {
        "declarative": f"The {noun} can {verb} {where}.",
        "interrogative": f"Can the {noun} {verb} {where}?",
        "imperative": f"Please {verb} with the {noun} {where}.",
        "exclamatory": f"How well the {noun} can {verb} {where}!",
    }[choices[answer]]
    question = rng.choice(
        [f"What kind of sentence is this? {sentence}", f"Which kind is this sentence? {sentence}"]
    )
    return _SENTENCE.problem(question, choices, answer, f"It is {choices[answer]}.")


def verb_tense(rng: random.Random) -> Problem:
    """The tense of a sentence's verb."""
    choices, answer = draw_choices(rng, ["past tense", "present tense", "future tense"], 3)
    noun, verb, where = rng.choice(NOUNS), rng.choice(list(VERBS)), rng.choice(WHERE)
    form = {
        "past tense": VERBS[verb],
        "present tense": f"{verb}s",
        "future tense": f"will {verb}",
    }[choices[answer]]
    sentence = f"The {noun} {form} {where}."
    question = rng.choice(
        [f"Which tense is used? {sentence}", f"What is the tense of this sentence? {sentence}"]
    )
    return _TENSE.problem(
        question, choices, answer, f"The verb {form} is in the {choices[answer]}."
    )


def preposition(rng: random.Random) -> Problem:
    """Where one coloured shape is from another: above, below, left of or right of."""
    offsets = {"above": (0, -1), "below": (0, 1), "left of": (-1, 0), "right of": (1, 0)}
    choices, answer = draw_choices(rng, list(offsets), rng.choice([3, 4]))
    dx, dy = offsets[choices[answer]]
    first, second = rng.sample(list(COLOURS), 2)
    kinds = rng.sample(SHAPES, 2)
    half = rng.randint(22, 27)
    x, y = rng.randint(46, 66), rng.randint(46, 66)
    if dx:
        x = rng.randint(50, 62)
    else:
        y = rng.randint(50, 62)
    slip = rng.randint(-8, 8)
    image, pen = paper(rng)
    for sign, name, kind in ((1, first, kinds[0]), (-1, second, kinds[1])):
        cx = x + sign * (dx * half + abs(dy) * slip)
        cy = y + sign * (dy * half + abs(dx) * slip)
        shape(pen, kind, cx, cy, rng.randint(14, 18), shade(rng, name))
    thing, other = f"{first} {kinds[0]}", f"{second} {kinds[1]}"
    question = rng.choice(
        [f"Where is the {thing} from the {other}?", f"The {thing} is ___ the {other}."]
    )
    solution = f"The {thing} is {choices[answer]} the {other}."
    return _PREPOSITION.problem(question, choices, answer, solution, image=grain(rng, image))
