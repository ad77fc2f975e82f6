"""How far a download of the hub's library is, told to somebody instead of drawn."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from tqdm import tqdm

Report = Callable[[int, int], None]
"""Told how far a download is: MiB done, MiB in all."""

_MIB = 1 << 20


class Meter:
    """Adds up the bars of files that are fetched one after the other."""

    def __init__(self, report: Report, expected: int) -> None:
        """Tells `report`; `expected` bytes are announced, 0 where nothing is."""
        self._report, self._expected = report, expected
        self._before = 0
        self._file: dict[int, tuple[int, int]] = {}
        self._told = (0, 0)

    def bars(self) -> type[Any]:
        """The class of progress bars for the next file, of which the library may make several."""
        self._before += max((total for _, total in self._file.values()), default=0)
        self._file = {}
        meter = self

        class Told(tqdm):  # type: ignore[misc]
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **{**kwargs, "file": io.StringIO(), "disable": False})

            def display(self, *args: Any, **kwargs: Any) -> None:
                if self.total:
                    meter.see(id(self), int(self.n), int(self.total))

        return Told

    def see(self, bar: int, done: int, total: int) -> None:
        """Takes where a bar of the present file is, in bytes."""
        self._file[bar] = (done, total)
        done = self._before + max(done for done, _ in self._file.values())
        total = max(self._expected, self._before + max(total for _, total in self._file.values()))
        now = min(done, total - 1) // _MIB, total // _MIB + 1
        if now != self._told:
            self._told = now
            self._report(*now)

    def end(self) -> None:
        """Says that all is there, where there was something to fetch."""
        if self._told[1]:
            self._report(self._told[1], self._told[1])
