"""Reads a letter out of an answer and says which columns a sample counts in."""

from __future__ import annotations

from typing import ClassVar

from qvlm.data.sample import Sample
from qvlm.evaluation.tasks import letters
from qvlm.evaluation.tasks.scorer import Scorer

_SUBJECTS = {"natural science": "NAT", "social science": "SOC", "language science": "LAN"}
_GRADES = {f"grade{n}": "G1-6" if n <= 6 else "G7-12" for n in range(1, 13)}


class ScienceQA(Scorer):
    """Letters; columns by subject, context and grade."""

    COLUMNS: ClassVar[tuple[str, ...]] = ("NAT", "SOC", "LAN", "TXT", "IMG", "NO", "G1-6", "G7-12")

    def credit(self, text: str, sample: Sample) -> float | None:
        """Returns 1 for the right letter, 0 for another one, None where there is none."""
        choice = letters.choice_of(text, len(sample.choices), self.parser)
        return None if choice is None else float(choice == sample.answer)

    def columns(self, sample: Sample) -> tuple[str, ...]:
        """Returns the columns of a sample; TXT and IMG overlap."""
        subject = _SUBJECTS.get(sample.subject)
        grade = _GRADES.get(sample.grade)
        has_image = sample.image is not None
        context = [
            name
            for name, member in (
                ("TXT", bool(sample.hint)),
                ("IMG", has_image),
                ("NO", not sample.hint and not has_image),
            )
            if member
        ]
        return tuple(name for name in (subject, *context, grade) if name)
