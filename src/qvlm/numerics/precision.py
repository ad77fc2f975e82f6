"""The precision that losses and gradients are computed in."""

from __future__ import annotations

import torch
from torch import Tensor


def at_least_float32(x: Tensor) -> Tensor:
    """Returns x in float32, or as it is where it has more digits."""
    return x if x.dtype == torch.float64 else x.float()
