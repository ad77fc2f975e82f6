"""Weights on an integer grid, one scale per output row or per group of input channels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from qvlm.errors import RecipeError
from qvlm.numerics.hadamard import is_power_of_two

_SHRINKS = tuple(1.0 - 0.05 * step for step in range(9))
"""Shares of the min-max range that lp clipping tries: 1.0, 0.95, ... 0.6."""

_SMALLEST_SCALE = torch.finfo(torch.bfloat16).tiny


@dataclass(frozen=True)
class QuantizedWeight:
    """A weight matrix as levels: w^_oc = s_og (v_oc - u_og), g = group of c (METHOD 2).

    Attributes:
        levels: v, [out, in] uint8, 0 .. 2^bits - 1.
        scale: s, [out, groups] float32, each value exactly a bfloat16.
        zero_point: u, [out, groups] uint8; 2^(bits-1) throughout where symmetric.
        bits: 2 to 8.
        group_size: input channels that share a scale; `in` for one scale per row.
        symmetric: whether zero sits in the middle of the levels.
    """

    levels: Tensor
    scale: Tensor
    zero_point: Tensor
    bits: int
    group_size: int
    symmetric: bool

    def centred(self) -> Tensor:
        """Returns v - u, [out, groups, group_size] int16."""
        grouped = torch.unflatten(self.levels, 1, (-1, self.group_size))
        return grouped.to(torch.int16) - self.zero_point.unsqueeze(-1)

    def dequantized(self) -> Tensor:
        """Returns w^, [out, in] float32."""
        return (self.centred() * self.scale.unsqueeze(-1)).flatten(1)

    def to(self, device: torch.device) -> QuantizedWeight:
        """The same weight on a device."""
        tensors = {
            name: getattr(self, name).to(device) for name in ("levels", "scale", "zero_point")
        }
        return replace(self, **tensors)


def quantize_weight(
    weight: Tensor,
    *,
    bits: int,
    group_size: int | None,
    symmetric: bool,
    clipping: Literal["minmax", "lp"] = "minmax",
    lp_norm: float = 2.4,
) -> QuantizedWeight:
    """Rounds a weight matrix to the nearest levels.

    The scale is rounded to bfloat16 (as it is stored) before the levels are computed, so
    the levels are the best ones for the scale that will be used. It goes to the nearest
    bfloat16, not upwards: on Gaussian weights that has 0.6 % less squared error, at the price
    that an extreme value may be off by 2^-9 of its range on top of half a step.
    Groups of zeros, or of values too small for a normal bfloat16 scale, become exact zeros.
    NaN and infinity are not looked for.

    Args:
        weight: [out, in], any float dtype.
        bits: 2 to 8.
        group_size: input channels that share a scale, or None for whole rows.
        symmetric: levels -(2^(bits-1) - 1) .. 2^(bits-1) - 1, shifted by 2^(bits-1).
        clipping: `minmax` takes a group's extremes; `lp` the shrink of them (1.0, 0.95 ...
            0.6) with the least sum |w - w^|^lp_norm, so never a worse one in that measure.
        lp_norm: exponent of the `lp` clipping.

    Raises:
        RecipeError: the group size does not divide the width.
    """
    width = weight.shape[1]
    size = resolve_group_size(width, group_size, "error")
    groups = torch.unflatten(weight.float(), 1, (-1, size))
    scale, zero_point = group_grid(
        groups, bits=bits, symmetric=symmetric, clipping=clipping, lp_norm=lp_norm
    )
    levels = _levels(groups, scale, zero_point, bits, symmetric)
    return QuantizedWeight(
        levels=levels.to(torch.uint8).flatten(1),
        scale=scale,
        zero_point=zero_point.to(torch.uint8),
        bits=bits,
        group_size=size,
        symmetric=symmetric,
    )


def group_grid(
    groups: Tensor,
    *,
    bits: int,
    symmetric: bool,
    clipping: Literal["minmax", "lp"] = "minmax",
    lp_norm: float = 2.4,
) -> tuple[Tensor, Tensor]:
    """Returns the grid of every group: scale and zero point, each groups.shape[:-1] float32.

    Args:
        groups: [..., group_size] float32, the values that share a grid.
        bits, symmetric, clipping, lp_norm: as in `quantize_weight`.
    """
    lower, upper = torch.aminmax(groups, dim=-1)
    lower, upper = lower.clamp(max=0.0), upper.clamp(min=0.0)
    if clipping == "lp":
        shrink = _best_shrink(groups, lower, upper, bits, symmetric, lp_norm)
        lower, upper = lower * shrink, upper * shrink
    return _weight_grid(lower, upper, bits, symmetric)


def resolve_group_size(
    width: int,
    group_size: int | None,
    fallback: Literal["error", "largest_divisor"],
    power_of_two: bool = False,
) -> int:
    """Returns the group size that a layer of that input width will use.

    Args:
        width: input channels of the layer.
        group_size: wanted size, at least 1; None for the whole width.
        fallback: for a size that does not divide the width: `error`, or `largest_divisor`,
            the largest divisor of the width that is no larger than `group_size`.
        power_of_two: take the largest divisor that is a power of two, for groups to rotate.

    Raises:
        RecipeError: the size does not divide the width and the fallback is `error`.
    """
    if group_size is None:
        return width
    if width % group_size == 0:
        return group_size
    divisors = (size for size in range(min(group_size, width), 0, -1) if width % size == 0)
    divisor = next(size for size in divisors if not power_of_two or is_power_of_two(size))
    if fallback == "largest_divisor":
        return divisor
    raise RecipeError(
        f"group size {group_size} does not divide a layer's input width {width}: use {divisor}, "
        "per_channel weights, or set group_size_fallback to largest_divisor"
    )


def _weight_grid(lower: Tensor, upper: Tensor, bits: int, symmetric: bool) -> tuple[Tensor, Tensor]:
    top, half = 2**bits - 1, 2 ** (bits - 1)
    exact = torch.maximum(-lower, upper) / (half - 1) if symmetric else (upper - lower) / top
    scale = exact.bfloat16().float()
    scale = torch.where(scale < _SMALLEST_SCALE, torch.ones_like(scale), scale)
    if symmetric:
        return scale, torch.full_like(scale, half)
    return scale, torch.round(-lower / scale).clamp_(0, top)


def _levels(
    groups: Tensor, scale: Tensor, zero_point: Tensor, bits: int, symmetric: bool
) -> Tensor:
    v = torch.round(groups / scale.unsqueeze(-1)).add_(zero_point.unsqueeze(-1))
    return v.clamp_(1 if symmetric else 0, 2**bits - 1)


def _best_shrink(
    groups: Tensor, lower: Tensor, upper: Tensor, bits: int, symmetric: bool, lp_norm: float
) -> Tensor:
    """Returns the share of the range with the least lp error, [out, groups]."""
    best = torch.ones_like(lower)
    least = torch.full_like(lower, torch.inf)
    for shrink in _SHRINKS:
        scale, zero_point = _weight_grid(lower * shrink, upper * shrink, bits, symmetric)
        levels = _levels(groups, scale, zero_point, bits, symmetric)
        rounded = levels.sub_(zero_point.unsqueeze(-1)).mul_(scale.unsqueeze(-1))
        error = rounded.sub_(groups).abs_().pow_(lp_norm).sum(dim=-1)
        better = error < least
        least = torch.where(better, error, least)
        best = torch.where(better, shrink, best)
    return best
