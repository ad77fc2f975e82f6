"""Show how far the work is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
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
    """Progress as lines of a log: when a stage starts, when it ends, and now and then between."""

    PAUSE = 60.0
    """Seconds of silence after which a stage says how far it is."""

    def __init__(self) -> None:
        self._spoken = time.monotonic()

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Writes a line at the ends of a stage, and where there was none for a while."""
        tail = f", {note}" if note else ""
        if done >= total:
            self._say(f"{stage}: done ({total}){tail}")
        elif done == 0:
            self._say(f"{stage}: {total} steps")
        elif time.monotonic() - self._spoken > self.PAUSE:
            self._say(f"{stage}: {done} of {total}{tail}")

    def _say(self, line: str) -> None:
        self._spoken = time.monotonic()
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


class Bars:
    """Progress as one bar per stage."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, int] = {}

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Moves the bar of a stage."""
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total, note="")
        self._progress.update(
            self._tasks[stage],  # type: ignore[arg-type]
            completed=done,
            total=total,
            note=note,
        )


@contextmanager
def progress_display() -> Iterator[Lines | Bars]:
    """Yields a callable `(stage, done, total, note)` that shows progress on stderr."""
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
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield Bars(progress)
