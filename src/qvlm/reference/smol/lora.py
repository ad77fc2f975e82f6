"""Low-rank changes to frozen linears (Hu et al., 2021): y = W x + (alpha / r) B A x."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn

RANK = 8
SCALE = 2.0
"""alpha / r."""
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj")
"""Linears of every decoder layer that get a change."""


class LoraLinear(nn.Module):
    """A frozen linear with a trainable low-rank change, zero at the start."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        bound = 1.0 / math.sqrt(base.in_features)
        self.down = nn.Parameter(torch.empty(RANK, base.in_features).uniform_(-bound, bound))
        self.up = nn.Parameter(torch.zeros(base.out_features, RANK))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [..., in] to [..., out]."""
        low = nn.functional.linear(x, self.down)
        output: torch.Tensor = self.base(x)
        return output + nn.functional.linear(low, SCALE * self.up)


def add_lora(model: nn.Module) -> dict[str, LoraLinear]:
    """Replaces the targets inside the model; returns them by the path of the linear."""
    found = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.rpartition(".")[2] in TARGETS
    }
    changed = {}
    for name, linear in found.items():
        parent, _, child = name.rpartition(".")
        changed[name] = LoraLinear(linear)
        setattr(model.get_submodule(parent), child, changed[name])
    return changed


@torch.no_grad()
def merge(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Adds low-rank changes to the model's own weights.

    Args:
        model: without `LoraLinear` inside.
        tensors: `PATH.down` [rank, in] and `PATH.up` [out, rank] of every changed linear.
    """
    for name in sorted({key.rpartition(".")[0] for key in tensors}):
        weight = model.get_parameter(f"{name}.weight")
        down, up = tensors[f"{name}.down"].float(), tensors[f"{name}.up"].float()
        weight.add_((SCALE * up @ down).to(weight.dtype))
