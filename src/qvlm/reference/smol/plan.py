"""The plan of smol-llava's training: everything that fixes a run, the wall clock excluded."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A stretch of steps: linear warm-up to the peak rate, then a cosine to zero."""

    steps: int
    warmup: int
    peak_rate: float
    weight_decay: float
    horizon: int | None = None
    """The cosine would reach zero at this step; None = at the last. A stage may end before."""

    def rate(self, step: int) -> float:
        """Returns the learning rate at a step."""
        if step < self.warmup:
            return self.peak_rate * (step + 1) / self.warmup
        end = self.steps if self.horizon is None else self.horizon
        done = (step - self.warmup) / max(1, end - self.warmup)
        return self.peak_rate * 0.5 * (1.0 + math.cos(math.pi * done))


@dataclasses.dataclass(frozen=True)
class Plan:
    """The four stages: tower as a classifier, the projector's start, open questions, letters."""

    seed: int = 0
    pictures_per_family: int = 4_000
    """PicoScience pictures that tower and projector learn from."""

    tower: Schedule = Schedule(steps=1_700, warmup=100, peak_rate=1e-3, weight_decay=0.05)
    tower_batch: int = 64
    """Photographs, and as many drawn pictures."""

    start: Schedule = Schedule(steps=400, warmup=40, peak_rate=1e-3, weight_decay=0.01)
    """The projector's start: its tokens learn to lie near the embeddings of the answers' words."""

    language: Schedule = Schedule(
        steps=480, warmup=20, peak_rate=1e-3, weight_decay=0.01, horizon=650
    )
    language_batch: int = 12
    """Pictures per step, half of them photographs; each is asked several questions."""
    letters: Schedule = Schedule(steps=140, warmup=5, peak_rate=8e-4, weight_decay=0.01)
    """The last stage: what a letter stands for, which open questions alone do not teach."""
    letters_batch: int = 8

    clip: float = 1.0
    save_every: int = 80
