"""Compares an answer with the possible answers and says which columns a sample counts in."""

from __future__ import annotations

from qvlm.data.sample import Sample
from qvlm.evaluation.tasks.scienceqa import scorer as letters

COLUMNS: tuple[str, ...] = ("CLOTHING", "ATTRIBUTES", "CHOICE")


def normalise(text: str) -> str:
    """Returns the text in lower case, without blanks around it and without a final period."""
    return text.strip().lower().removesuffix(".").rstrip()


def parse(text: str, sample: Sample) -> int | None:
    """Returns the index of the choice that an answer names, or None.

    An open question's answer must equal a possible answer, both normalised; a multiple-choice
    question's is read by ScienceQA's rule.
    """
    if not sample.open:
        return letters.parse(text, sample)
    answers = [normalise(choice) for choice in sample.choices]
    given = normalise(text)
    return answers.index(given) if given in answers else None


def columns(sample: Sample) -> tuple[str, ...]:
    """Returns the one column of a sample's group."""
    name = sample.subject.upper()
    return (name,) if name in COLUMNS else ()
