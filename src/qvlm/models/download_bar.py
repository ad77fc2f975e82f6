"""How far a download of the hub's library is, told to somebody instead of drawn."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

Report = Callable[[int, int, str], None]
"""Told how far a download is: MiB done, MiB in all, the unit."""

_MIB = 1 << 20


def bar_of(report: Report) -> type[Any]:
    """Returns the class of progress bars that tells `report`.

    The library makes one that counts files, and others that count bytes: newer versions of it
    have two, and their totals grow until the size of every file is known.
    """
    counts: dict[int, tuple[float, float]] = {}

    class Told(tqdm):  # type: ignore[misc]
        told = (0, 0)

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "file": io.StringIO(), "disable": False})

        def display(self, *args: Any, **kwargs: Any) -> None:
            if self.unit != "B" or not self.total:
                return
            counts[id(self)] = (self.n, self.total)
            done, total = (int(max(column)) for column in zip(*counts.values(), strict=True))
            now = min(done, total - 1) // _MIB, total // _MIB + 1
            if now != Told.told:
                Told.told = now
                report(*now, "MiB")

    return Told
