"""Tell answers of a broken checkpoint: nothing, one piece over and over, exclamation marks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

_REPEATS = 8
"""Pieces of an answer from which on repetition is looked for."""


def broken_reason(answer: str, pieces: Sequence[int]) -> str | None:
    """Returns what is wrong with an answer, or None.

    Args:
        answer: in words, without special tokens.
        pieces: its token ids.
    """
    text = answer.strip()
    if not text:
        return "is empty"
    if set(text) == {"!"}:
        return f"is {text[:8]!r}"
    if len(pieces) >= _REPEATS:
        most = Counter(pieces).most_common(1)[0][1]
        if most > 0.75 * len(pieces):
            return f"repeats itself ({text[:24]!r})"
    return None
