"""Compares an answer with the possible answers and says which columns a sample counts in."""

from __future__ import annotations

from typing import ClassVar

from qvlm.data.sample import Sample
from qvlm.evaluation.tasks import letters
from qvlm.evaluation.tasks.exact_match.scorer import normalise
from qvlm.evaluation.tasks.scorer import Scorer


class SmolQA(Scorer):
    """Exact match of open answers, letters of multiple choice."""

    COLUMNS: ClassVar[tuple[str, ...]] = ("CLOTHING", "ATTRIBUTES", "CHOICE")

    def credit(self, text: str, sample: Sample) -> float | None:
        """Returns 1 or 0, or None where the answer is none of the possible ones."""
        if not sample.open:
            choice = letters.choice_of(text, len(sample.choices), self.parser)
            return None if choice is None else float(choice == sample.answer)
        possible = [normalise(choice) for choice in sample.choices]
        given = normalise(text)
        return float(possible.index(given) == sample.answer) if given in possible else None

    def columns(self, sample: Sample) -> tuple[str, ...]:
        """Returns the one column of a sample's group."""
        name = sample.subject.upper()
        return (name,) if name in self.COLUMNS else ()
