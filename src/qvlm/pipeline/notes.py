"""Warnings of a run, for its result to tell of."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def recorded_warnings() -> Iterator[list[warnings.WarningMessage]]:
    """Collects the body's warnings, so that the result can tell of them, then passes them on."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught
    for text in distinct(caught):
        warnings.warn(text, stacklevel=4)


def distinct(caught: Sequence[warnings.WarningMessage]) -> tuple[str, ...]:
    """The texts of warnings, each once, in order."""
    return tuple(dict.fromkeys(str(item.message) for item in caught))
