"""Show how far the work is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Lines:
    """Progress as lines of a log: one when a stage starts, one when it ends."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Writes a line at the ends of a stage."""
        if done >= total:
            sys.stderr.write(f"{stage}: done ({total})\n")
        elif done == 0:
            sys.stderr.write(f"{stage}: {total} steps\n")
        sys.stderr.flush()


class Bars:
    """Progress as one bar per stage."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Moves the bar of a stage."""
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._tasks[stage], completed=done, total=total)  # type: ignore[arg-type]


@contextmanager
def progress_display() -> Iterator[Lines | Bars]:
    """Yields a callable `(stage, done, total)` that shows progress on stderr."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Lines()
        return
    columns = (
        TextColumn("{task.description:>12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield Bars(progress)
