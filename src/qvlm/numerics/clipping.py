"""Candidate clipping ranges: exact tail quantiles, and what a range costs."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from qvlm.numerics.affine import dequantize, grid_from_range, quantize


class TailQuantiles:
    """Exact per-channel quantiles near the two ends of a stream of values.

    Of N values, upper(p) is the one at rank ceil(p N) from below and lower(p) the one at
    rank ceil(p N) from above (p = 1: the extremes). Always a value that was seen, never an
    interpolation. Only the tails are kept: memory is channels * (floor((1 - p) N) + 1) values
    each for the least p, and the order of the stream does not matter.
    """

    def __init__(self, channels: int, percentiles: Sequence[float], total_tokens: int) -> None:
        """Starts an empty stream.

        Args:
            channels: values per token; 1 for a per-tensor range, after flattening.
            percentiles: p, each in (0.5, 1].
            total_tokens: the most tokens that `update` will be given (fewer is fine).
        """
        self._channels = channels
        self._percentiles = tuple(percentiles)
        self._total = total_tokens
        self.seen = 0
        """Tokens so far."""
        self._kept = max(_tail_rank(p, total_tokens) for p in self._percentiles)
        self._low: Tensor | None = None
        self._high: Tensor | None = None

    def update(self, x: Tensor) -> None:
        """Takes x [tokens, channels], any float dtype.

        Raises:
            ValueError: more tokens than announced, or another number of channels.
        """
        if x.shape[1] != self._channels:
            raise ValueError(f"expected {self._channels} channels, got {x.shape[1]}")
        self._count(len(x))
        values = x.float().t()
        self._low = _extremes(self._low, values, self._kept, largest=False)
        self._high = _extremes(self._high, values, self._kept, largest=True)

    @property
    def tails(self) -> tuple[Tensor, Tensor] | None:
        """The smallest and the largest values kept, each [channels, kept]; None before a token."""
        return None if self._low is None or self._high is None else (self._low, self._high)

    def merge(self, low: Tensor, high: Tensor, tokens: int) -> None:
        """Takes the tails of another stream of the same channels.

        Args:
            low, high: its `tails`, of a stream for which as many tokens were announced.
            tokens: how many it has seen.

        Raises:
            ValueError: both have seen more tokens than were announced.
        """
        self._count(tokens)
        self._low = _extremes(self._low, low, self._kept, largest=False)
        self._high = _extremes(self._high, high, self._kept, largest=True)

    def ranges(self) -> tuple[Tensor, Tensor]:
        """Returns (lower, upper), each [percentiles, channels] float32.

        Raises:
            ValueError: no token was seen.
        """
        if self._low is None or self._high is None or not self.seen:
            raise ValueError("no token was seen, so there is no range")
        ranks = torch.tensor([_tail_rank(p, self.seen) - 1 for p in self._percentiles])
        ranks = ranks.to(self._low.device)
        low = self._low.sort(dim=1).values[:, ranks]
        high = self._high.sort(dim=1, descending=True).values[:, ranks]
        return low.t().contiguous(), high.t().contiguous()

    def _count(self, tokens: int) -> None:
        self.seen += tokens
        if self.seen > self._total:
            raise ValueError(f"{self.seen} tokens seen, only {self._total} were announced")


def clip_error(
    x: Tensor, lower: Tensor, upper: Tensor, bits: int, symmetric: bool, p: float
) -> Tensor:
    """Returns SUM |x - x^|^p for every candidate range (the mean is the caller's).

    Args:
        x: [tokens, channels], any float dtype.
        lower: [candidates, channels] or [candidates, 1].
        upper: same shape as `lower`.
        bits: 2 to 8.
        symmetric: as in `grid_from_range`.
        p: exponent of the distance.

    Returns:
        [candidates] float64.
    """
    x = x.float()
    sums = []
    for low, high in zip(lower, upper, strict=True):
        grid = grid_from_range(low, high, bits, symmetric)
        error = dequantize(quantize(x, grid), grid).sub_(x).abs_()
        # |e|^p as 2^(p log2 |e|): faster than pow, equal to 1e-5; 0 stays 0.
        sums.append(error.log2_().mul_(p).exp2_().sum(dtype=torch.float64))
    return torch.stack(sums)


def _tail_rank(p: float, count: int) -> int:
    """Rank from the near end, from 1: count - ceil(p count) + 1, with p as it is written."""
    return int((1 - Fraction(str(p))) * count) + 1


def _extremes(kept: Tensor | None, values: Tensor, count: int, *, largest: bool) -> Tensor:
    pool = values if kept is None else torch.cat([kept, values], dim=1)
    if pool.shape[1] <= count:
        return pool.clone()
    return pool.topk(count, dim=1, largest=largest, sorted=False).values
