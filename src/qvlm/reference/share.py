"""One rank's share of the training questions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from transformers import LlavaProcessor

from qvlm.reference.drills import DrillStream
from qvlm.reference.picoscience.problem import Problem
from qvlm.reference.plan import Phase, Plan
from qvlm.reference.samples import Batch, Item, Stream, index_pictures, resize_pictures

DRILL_QUESTIONS = 6_600
"""Drills take their choices from this many of a rank's questions."""


class Share:
    """One rank's share of the training questions, their pictures resized once."""

    def __init__(
        self, problems: Sequence[Problem], processor: LlavaProcessor, rank: int, ranks: int
    ) -> None:
        """Takes every `ranks`-th question."""
        share = problems[rank::ranks]
        self._processor = processor
        self._rank = rank
        self._pictures = resize_pictures(processor, share)
        items = [
            Item(dataclasses.replace(item.problem, image=None), item.picture)
            for item in index_pictures(share)
        ]
        self._seen = [item for item in items if item.picture >= 0]
        self._read = [item for item in items if item.picture < 0]
        self._drilled = [item.problem for item in items[:DRILL_QUESTIONS]]

    def streams(self, plan: Plan, phase: Phase) -> dict[str, Iterator[Batch]]:
        """Returns the phase's endless batches of each kind."""
        seed, lesson = f"{plan.seed}/{self._rank}/{phase.name}", phase.lesson
        images = Stream(
            self._seen, self._pictures, self._processor, plan.image_batch, lesson, f"{seed}/image"
        )
        texts = Stream(self._read, None, self._processor, plan.text_batch, lesson, f"{seed}/text")
        drills = DrillStream(
            self._drilled,
            self._processor.tokenizer,
            plan.drill_batch,
            f"{seed}/drill",
            grown=phase.grown_drills,
        )
        return {"image": iter(images), "text": iter(texts), "drill": iter(drills)}
