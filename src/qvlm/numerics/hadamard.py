"""Hadamard transforms of groups of channels: a large value is spread over its whole group."""

from __future__ import annotations

import torch
from torch import Tensor


def hadamard(x: Tensor, size: int) -> Tensor:
    """Returns H x_g for every group g of `size` consecutive channels, H of entries +-1.

    H (Sylvester's, natural order) is symmetric and H H = size I, so that W x = (W H / size) (H x).
    Butterflies, widest first, in the dtype of x: the additions and their order are part of the
    definition, which the kernels follow bit for bit.

    Args:
        x: [..., channels], `size` divides the channels.
        size: a power of two.
    """
    grouped = torch.unflatten(x, -1, (-1, size))
    half = size // 2
    while half:
        pairs = torch.unflatten(grouped, -1, (-1, 2, half))
        first, second = pairs.select(-2, 0), pairs.select(-2, 1)
        grouped = torch.stack((first + second, first - second), dim=-2).flatten(-3)
        half //= 2
    return grouped.flatten(-2)


def is_power_of_two(size: int) -> bool:
    """True for the sizes that have a transform."""
    return size > 0 and size & (size - 1) == 0
