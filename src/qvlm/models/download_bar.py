"""How far a download of the hub's library is, told to somebody instead of drawn."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

Report = Callable[[int, int], None]
"""Told how far a download is: MiB done, MiB in all."""

_MIB = 1 << 20


@contextmanager
def told_bars(report: Report | None) -> Iterator[type[Any] | None]:
    """Yields the class of progress bars that tells `report`; None for the library's own.

    The library makes one that counts files, and others that count bytes: newer versions of it
    have two, and their totals grow until the size of every file is known.
    """
    if report is None:
        yield None
        return
    tell = report
    counts: dict[int, tuple[float, float]] = {}
    told = (0, 0)

    class Told(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "file": io.StringIO(), "disable": False})

        def display(self, *args: Any, **kwargs: Any) -> None:
            nonlocal told
            if self.unit != "B" or not self.total:
                return
            counts[id(self)] = (self.n, self.total)
            done, total = (int(max(column)) for column in zip(*counts.values(), strict=True))
            now = min(done, total - 1) // _MIB, total // _MIB + 1
            if now != told:
                told = now
                tell(*now)

    yield Told
    if told[1]:
        tell(told[1], told[1])
