"""Reads a letter out of an answer and says which columns a sample counts in."""

from __future__ import annotations

import re

from qvlm.data.sample import LETTERS, Sample

COLUMNS: tuple[str, ...] = ("NAT", "SOC", "LAN", "TXT", "IMG", "NO", "G1-6", "G7-12")

_SUBJECTS = {"natural science": "NAT", "social science": "SOC", "language science": "LAN"}
_GRADES = {f"grade{n}": "G1-6" if n <= 6 else "G7-12" for n in range(1, 13)}
_SENTENCE = re.compile(r"The answer is ([A-Z])\.")


def parse(text: str, sample: Sample) -> int | None:
    """Returns the index of the sample's choice that an answer names, or None (LLaVA-1.5's rule)."""
    letters = LETTERS[: len(sample.choices)]
    answer = text.strip()
    if len(answer) == 1:
        letter = answer
    elif answer[1:3] == ". " and answer[0] in letters:
        letter = answer[0]
    else:
        found = _SENTENCE.findall(answer)
        letter = found[0] if len(found) == 1 else ""
    return letters.index(letter) if letter and letter in letters else None


def columns(sample: Sample) -> tuple[str, ...]:
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
