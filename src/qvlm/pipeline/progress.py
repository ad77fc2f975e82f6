"""How the pipeline tells its caller how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told how far a stage is."""

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """`done` of `total` steps of `stage` are finished; the note says what came of them."""


def silent(stage: str, done: int, total: int, note: str = "") -> None:
    """The progress of a caller who wants none."""


def prefixed(progress: Progress, prefix: str) -> Progress:
    """Returns a progress that names `prefix` in front of every stage."""

    def report(stage: str, done: int, total: int, note: str = "") -> None:
        progress(f"{prefix}: {stage}", done, total, note)

    return report
