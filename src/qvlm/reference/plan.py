"""The plan of pico-llava's training: four phases, each with one lesson.

The order matters more than the number of steps. A model of this size learns to see and to copy
from explanations, and what a letter stands for from short drills; from letters alone it learns
nothing for a very long time.
"""

from __future__ import annotations

import dataclasses
import math

from qvlm.reference.samples import Lesson


@dataclasses.dataclass(frozen=True)
class Phase:
    """A stretch of steps with one lesson, fresh batches and a fresh optimizer."""

    name: str
    steps: int
    horizon: int
    """The cosine would reach zero at this step; a phase may end before."""
    warmup: int
    cycle: tuple[str, ...]
    """The kinds of batch that take turns: "image", "text" and "drill"."""
    lesson: Lesson
    grown_drills: bool = False


SEE = Phase(
    "see", 1200, horizon=6000, warmup=200, cycle=("image", "image", "text"),
    lesson=Lesson(explain_first=0.25, phrase=0.15, answer_weight=1.0, explanation_weight=0.5,
                  thought_weight=0.0, prompt_weight=0.1),
)  # fmt: skip
"""Learns to see, read and copy: explanations and the prompt's words carry most of the loss."""

BIND = Phase(
    "bind", 700, horizon=6000, warmup=50, cycle=("drill", "drill", "drill", "image"),
    lesson=Lesson(explain_first=0.25, phrase=0.15, answer_weight=1.0, explanation_weight=0.5,
                  thought_weight=0.0, prompt_weight=0.0),
)  # fmt: skip
"""Learns what an option's letter stands for, from drills that grow."""

ANSWER = Phase(
    "answer", 2400, horizon=2400, warmup=50, grown_drills=True,
    cycle=("image", "image", "text", "image", "image", "text", "drill"),
    lesson=Lesson(explain_first=0.2, phrase=0.05, answer_weight=3.0, explanation_weight=0.3,
                  thought_weight=0.5, prompt_weight=0.0),
)  # fmt: skip
"""Learns to answer with the letter at once."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that fixes a training run, the wall clock excluded."""

    seed: int = 0
    phases: tuple[Phase, ...] = (SEE, BIND, ANSWER)
    train_questions: int = 66_000
    val_questions: int = 690
    image_batch: int = 16
    text_batch: int = 32
    drill_batch: int = 48
    """Sequences per rank and step; a step takes about as long with each kind."""
    peak_rate: float = 1.5e-3
    weight_decay: float = 0.05
    clip: float = 1.0
    evaluate_every: int = 250
    save_every: int = 500


def learning_rate(peak: float, phase: Phase, step: int) -> float:
    """Returns the rate at the phase's step: linear warm-up, then a cosine towards zero."""
    if step < phase.warmup:
        return peak * (step + 1) / phase.warmup
    done = (step - phase.warmup) / max(1, phase.horizon - phase.warmup)
    return peak * 0.5 * (1.0 + math.cos(math.pi * done))
