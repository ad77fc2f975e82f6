"""What the stages of a run cost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

from qvlm import machine
from qvlm.artefacts.result import StageCost
from qvlm.pipeline.progress import Progress


class Costly(Protocol):
    """What stages leave: an outcome that knows its cost."""

    @property
    def seconds(self) -> float:
        """How long it took."""

    @property
    def forward_equivalents(self) -> float:
        """What it ran of the model."""


@dataclass
class Costs:
    """Costs of the stages so far, and whom to tell."""

    progress: Progress
    stages: dict[str, StageCost] = field(default_factory=dict)
    begin: float = field(default_factory=time.perf_counter)

    def facts(self, peak: int) -> dict[str, Any]:
        """The result's fields on cost and machine, for a largest resident memory in bytes."""
        return {
            "stages": self.stages,
            "total_seconds": time.perf_counter() - self.begin,
            "peak_rss_bytes": peak,
            "versions": machine.versions(),
            "machine": machine.description(),
        }

    def add(self, stage: str, outcome: Costly) -> None:
        """Adds what an outcome cost to its stage, which may run twice."""
        before = self.stages.get(stage, StageCost(seconds=0.0))
        self.stages[stage] = StageCost(
            seconds=before.seconds + outcome.seconds,
            forward_equivalents=before.forward_equivalents + outcome.forward_equivalents,
        )

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Records the seconds of a stage that needs no forwards."""
        start = time.perf_counter()
        self.progress(stage, 0, 1)
        yield
        self.progress(stage, 1, 1)
        self.stages[stage] = StageCost(seconds=time.perf_counter() - start)
