"""Uniform affine quantization: a real value x becomes a level q of 0 .. M-1 (METHOD 2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_SMALLEST_SCALE = torch.finfo(torch.float32).tiny
"""Below this a scale is subnormal and x / scale would overflow or lose its digits."""


@dataclass(frozen=True)
class AffineGrid:
    """The real values that M levels stand for: x^ = scale (q - zero_point).

    Attributes:
        scale: D, float32, positive and finite, in units of x.
        zero_point: z, integer-valued float32 in 0 .. levels - 1, of the shape of `scale`.
        levels: M = 2^bits.
    """

    scale: Tensor
    zero_point: Tensor
    levels: int


def grid_from_range(lower: Tensor, upper: Tensor, bits: int, symmetric: bool = False) -> AffineGrid:
    """Returns the grid of a range, widened to contain zero, in float32 for any input dtype.

    Asymmetric: D = (hi - lo) / (M-1), z = clamp(round(-lo / D), 0, M-1).
    Symmetric: D = max(|lo|, |hi|) / (2^(bits-1) - 1), z = 2^(bits-1).
    A range without extent, or one so small that D would be subnormal, gets D = 1, so that
    its values become exact zeros and nothing divides by zero. NaN and infinity are not
    looked for: they give NaN scales.

    Args:
        lower: any shape, float dtype, units of x.
        upper: same shape as `lower`.
        bits: 2 to 8.
        symmetric: whether zero sits in the middle of the levels.
    """
    low = lower.float().clamp(max=0.0)
    high = upper.float().clamp(min=0.0)
    levels = 2**bits
    if symmetric:
        scale = _usable(torch.maximum(-low, high) / (levels // 2 - 1))
        return AffineGrid(scale, torch.full_like(scale, levels // 2), levels)
    scale = _usable((high - low) / (levels - 1))
    zero_point = torch.round(-low / scale).clamp(0, levels - 1)
    return AffineGrid(scale, zero_point, levels)


def quantize(x: Tensor, grid: AffineGrid) -> Tensor:
    """Returns q = clamp(round(x / D) + z, 0, M-1) as integer-valued float32.

    Halves are rounded to the even neighbour. NaN stays NaN; infinity becomes an end level.

    Args:
        x: [..., channels], any float dtype; it is divided in float32.
        grid: scale and zero point that broadcast against x.
    """
    q = torch.round(x.float() / grid.scale)
    return q.add_(grid.zero_point).clamp_(0, grid.levels - 1)


def dequantize(q: Tensor, grid: AffineGrid) -> Tensor:
    """Returns x^ = D (q - z) in float32, of the shape of q."""
    return grid.scale * (q - grid.zero_point)


def per_token_grid(x: Tensor, bits: int, symmetric: bool = False) -> AffineGrid:
    """Returns the grid of each token's own extremes.

    Args:
        x: [..., channels], any float dtype.
        bits: 2 to 8.
        symmetric: as in `grid_from_range`.

    Returns:
        A grid with scale and zero point [..., 1].
    """
    lower, upper = torch.aminmax(x, dim=-1, keepdim=True)
    return grid_from_range(lower, upper, bits, symmetric)


def _usable(scale: Tensor) -> Tensor:
    return torch.where(scale < _SMALLEST_SCALE, torch.ones_like(scale), scale)
