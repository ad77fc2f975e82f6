"""Intervals and tests for shares of correct answers."""

from __future__ import annotations

import math

Z95 = 1.959963984540054
"""97.5 % quantile of the normal distribution."""


def wilson(correct: float, count: int) -> tuple[float, float]:
    """95 % Wilson score interval of a share, both ends in [0, 1].

    For part credits it is wider than need be: of all values in [0, 1] with the same mean, zeros
    and ones vary most.

    Raises:
        ValueError: not 0 <= correct <= count, or count is 0.
    """
    if count < 1 or not 0 <= correct <= count:
        raise ValueError(f"{correct} of {count} is not a share")
    share = correct / count
    square = Z95 * Z95
    centre = share + square / (2 * count)
    spread = Z95 * math.sqrt(share * (1 - share) / count + square / (4 * count * count))
    scale = 1 + square / count
    return max((centre - spread) / scale, 0.0), min((centre + spread) / scale, 1.0)


def mcnemar(only_first: int, only_second: int) -> float:
    """Two-sided p-value of McNemar's exact test on the two discordant counts."""
    discordant = only_first + only_second
    # Counted in integers: 2^discordant leaves the range of floats at 1024.
    tail = sum(math.comb(discordant, k) for k in range(min(only_first, only_second) + 1))
    return min(1.0, 2 * tail / (1 << discordant))
