"""Few-shot: answered samples that are shown before a question."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from qvlm.data.sample import Sample
from qvlm.errors import DataError


def with_shots(
    samples: Sequence[Sample], pool: Sequence[Sample], count: int, seed: int
) -> list[Sample]:
    """Returns the samples, each with `count` others to show first.

    What is shown depends on the seed and the sample's key alone, not on the order of the samples
    or on which of them are asked. A sample is never shown to itself.

    Args:
        samples: to be asked.
        pool: answered samples, for instance the training split.
        count: how many are shown; 0 = none.
        seed: of the draws.

    Raises:
        DataError: the count is negative, the pool is too small, or it has samples without a
            public answer.
    """
    if count < 0:
        raise DataError(f"cannot show {count} samples first: ask for 0 or more")
    if count == 0:
        return list(samples)
    if len(pool) <= count:
        raise DataError(
            f"{count} samples were to be shown first, but there are {len(pool)} to draw from: "
            "ask for fewer"
        )
    hidden = next((sample for sample in pool if sample.answer is None), None)
    if hidden is not None:
        raise DataError(f"sample {hidden.key} has no public answer, so it cannot be shown first")
    ordered = sorted(pool, key=lambda sample: sample.key)
    return [replace(sample, shots=_draw(sample, ordered, count, seed)) for sample in samples]


def _draw(sample: Sample, pool: Sequence[Sample], count: int, seed: int) -> tuple[Sample, ...]:
    # One more than needed, in case the sample itself is among them.
    drawn = random.Random(f"{seed}/{sample.key}").sample(pool, count + 1)
    return tuple([shot for shot in drawn if shot.key != sample.key][:count])
