"""One comparison of many cases: how many agreed, and the first that did not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

TWO_DIGITS = 0.0051
"""Within which per cents agree that a program has rounded to two digits."""
SHOWN = 3
"""Differing cases that are kept."""


@dataclass
class Check:
    """What is compared with whose program.

    Attributes:
        what: the figure or text.
        package: distribution that holds the published program.
        agrees: whether it is expected to agree; else how often it differs is merely counted.
        cases: compared up to now.
        known: cases left out, since they differ by a documented rule.
        differ: cases that disagreed.
        examples: the first of them.
    """

    what: str
    package: str
    agrees: bool = True
    cases: int = 0
    known: int = 0
    differ: int = 0
    examples: list[dict[str, str]] = field(default_factory=list)

    def compare(
        self, case: Any, ours: Any, theirs: Any, within: float = 0.0, known: bool = False
    ) -> None:
        """Counts a case; numbers may differ by `within`."""
        if known:
            self.known += 1
            return
        self.cases += 1
        numbers = isinstance(ours, float | int) and isinstance(theirs, float | int)
        if (abs(ours - theirs) <= within) if numbers else (ours == theirs):
            return
        self.differ += 1
        if len(self.examples) < SHOWN:
            self.examples.append({"case": repr(case), "qvlm": repr(ours), "theirs": repr(theirs)})

    @property
    def failed(self) -> bool:
        """True where it had to agree and did not, or nothing was compared."""
        return self.cases == 0 or (self.agrees and self.differ > 0)
