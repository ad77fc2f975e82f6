"""Seeded choices among samples, and the promise that calibration never sees a scored sample."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from qvlm.data.sample import Sample
from qvlm.errors import DataError


def choose(samples: Sequence[Sample], count: int, seed: int) -> list[Sample]:
    """Returns `count` samples in random order; depends on the set and the seed alone.

    Raises:
        DataError: there are fewer than `count`, or `count` is not positive.
    """
    if count < 1:
        raise DataError(f"cannot choose {count} samples: ask for at least 1")
    if count > len(samples):
        raise DataError(
            f"{count} samples were asked for, but the data has {len(samples)}: "
            f"ask for at most {len(samples)}"
        )
    ordered = sorted(samples, key=lambda sample: sample.key)
    return random.Random(seed).sample(ordered, count)


def split_guard(
    samples: Sequence[Sample], fraction: float, seed: int
) -> tuple[list[Sample], list[Sample]]:
    """Splits samples into those that a search sees and those that judge its outcome.

    Both parts hold image and text-only samples where there are at least two of each. The order
    of `samples` is kept inside each part.

    Args:
        samples: distinct samples.
        fraction: share of the guard, 0 <= fraction < 1; 0 gives an empty guard.
        seed: decides which samples guard.

    Raises:
        DataError: the fraction is out of range, or fewer than two samples are to be split.
    """
    if not 0.0 <= fraction < 1.0:
        raise DataError(f"guard fraction {fraction} is not in [0, 1)")
    if fraction == 0.0:
        return list(samples), []
    if len(samples) < 2:
        raise DataError(
            f"{len(samples)} sample cannot be split into search and guard: "
            "give at least 2, or set the guard fraction to 0"
        )
    rng = random.Random(seed)
    guard: set[str] = set()
    for with_image in (True, False):
        stratum = sorted(s.key for s in samples if bool(s.images) == with_image)
        if len(stratum) >= 2:
            wanted = min(max(round(fraction * len(stratum)), 1), len(stratum) - 1)
            guard.update(rng.sample(stratum, wanted))
    if not guard:  # one sample with an image and one without
        guard.add(rng.choice(sorted(s.key for s in samples)))
    return (
        [sample for sample in samples if sample.key not in guard],
        [sample for sample in samples if sample.key in guard],
    )


def check_disjoint(calibration_ids: Iterable[str], scoring_ids: Iterable[str]) -> None:
    """Raises DataError naming an id (`split/id`) that would be calibrated on and scored."""
    shared = sorted(set(calibration_ids) & set(scoring_ids))
    if shared:
        raise DataError(
            f"{len(shared)} samples are used for calibration and for scoring, first "
            f"'{shared[0]}': score another split, or calibrate on another"
        )
