"""Compares an answer with every right one, after light normalisation."""

from __future__ import annotations

from qvlm.data.sample import Sample
from qvlm.evaluation.tasks import letters
from qvlm.evaluation.tasks.scorer import Scorer


def normalise(text: str) -> str:
    """Returns the text in lower case, without blanks around it and without a final period."""
    return text.strip().lower().removesuffix(".").rstrip()


class ExactMatch(Scorer):
    """Equal to any of the right answers; letters where choices are shown."""

    def credit(self, text: str, sample: Sample) -> float | None:
        """Returns 1 or 0; None where choices are shown and no letter is named."""
        if not sample.open:
            choice = letters.choice_of(text, len(sample.choices), self.parser)
            return None if choice is None else float(choice == sample.answer)
        return float(normalise(text) in {normalise(right) for right in sample.choices})
