"""The order in which the kernels read weights; `cpu/layout.h` describes it.

A panel is 16 outputs, a block 4 input channels of a panel. Outputs are padded to whole panels and
groups to whole blocks with levels that nothing reads: their inputs are zero, their outputs are not
written.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from qvlm.runtime.kernels.plan import STEPS, Plan

PANEL = 16
BLOCK = 4


def pack_levels(levels: Tensor, group_size: int, plan: Plan) -> Tensor:
    """Orders and packs levels for a kernel.

    Args:
        levels: [out, in] uint8.
        group_size: input channels that share a scale; divides `in`.
        plan: how the kernel runs the linear.

    Returns:
        [panels, blocks * 64 * stored_bits / 8] uint8.
    """
    channels = STEPS[plan.arithmetic]
    padded = _pad_outputs(_pad_groups(levels, group_size))
    # panel, output, block, step of the block, channel of the step
    split = padded.view(padded.shape[0] // PANEL, PANEL, -1, BLOCK // channels, channels)
    ordered = split.permute(0, 2, 3, 1, 4).reshape(padded.shape[0] // PANEL, -1, PANEL * BLOCK)
    return torch.cat(_planes(ordered, plan.stored_bits), dim=-1).flatten(1).contiguous()


def panels_of(values: Tensor) -> Tensor:
    """Orders one value per output and group: [out, groups] -> [panels, groups, 16]."""
    padded = _pad_outputs(values)
    return torch.unflatten(padded, 0, (-1, PANEL)).transpose(1, 2).contiguous()


def packed_shape(out_features: int, in_features: int, group_size: int, plan: Plan) -> list[int]:
    """Shape of what `pack_levels` returns."""
    blocks = in_features // group_size * -(-group_size // BLOCK)
    return [-(-out_features // PANEL), blocks * PANEL * BLOCK * plan.stored_bits // 8]


def _planes(block: Tensor, stored_bits: int) -> list[Tensor]:
    if stored_bits == 8:
        return [block]
    first, second = (block & 15).chunk(2, dim=-1)
    planes = [first | second << 4]
    if stored_bits == 6:
        quarters = (block >> 4).chunk(4, dim=-1)
        planes.append(
            quarters[0] | quarters[1] << 2 | quarters[2] << 4 | quarters[3] << 6,
        )
    return planes


def _pad_groups(levels: Tensor, group_size: int) -> Tensor:
    groups = torch.unflatten(levels, 1, (-1, group_size))
    return F.pad(groups, (0, -group_size % BLOCK)).flatten(1)


def _pad_outputs(rows: Tensor) -> Tensor:
    flat = rows.view(torch.int16) if rows.dtype == torch.bfloat16 else rows
    padded = F.pad(flat, (0, 0, 0, -rows.shape[0] % PANEL))
    return padded.view(rows.dtype)
