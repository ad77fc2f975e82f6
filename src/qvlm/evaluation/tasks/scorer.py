"""What a task's scorer offers: credit for an answer, and the columns that a sample counts in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from qvlm.artefacts.scores import Measure
from qvlm.data.sample import Sample


class Scorer(ABC):
    """Scores the answers of one task by the rules of one parser."""

    COLUMNS: ClassVar[tuple[str, ...]] = ()
    """Names of the table's columns; `Avg` comes by itself."""

    def __init__(self, parser: str) -> None:
        """Takes the name of a parser of the task's `task.yaml`."""
        self.parser = parser

    @abstractmethod
    def credit(self, text: str, sample: Sample) -> float | None:
        """Returns the share of right, 0 to 1, or None where the answer cannot be read."""

    def columns(self, sample: Sample) -> tuple[str, ...]:
        """Returns the columns that a sample counts in, out of `COLUMNS`."""
        return ()

    def measures(self, samples: Sequence[Sample], answers: Mapping[str, str]) -> dict[str, Measure]:
        """Returns figures of the whole set that are no averages of credits, by their names."""
        return {}

    def shown(self, text: str) -> str:
        """Returns an answer as a person wants to read it."""
        return text

    def submitted(self, text: str) -> str:
        """Returns an answer as a challenge's server wants to get it."""
        return text
