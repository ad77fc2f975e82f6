"""Experts of a layer on disk that come into memory one at a time, while they compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from qvlm.machine import give_freed_memory_back
from qvlm.models.residency import let_wait

Read = Callable[[str], torch.Tensor]
"""Name of a weight in its layer -> the weight, [out, in]."""


def linears_of(expert: nn.Module) -> list[str]:
    """Names of an expert's linears."""
    return [name for name, part in expert.named_children() if isinstance(part, nn.Linear)]


def read_while_computing(expert: nn.Module, path: str, read: Read) -> None:
    """Lets an expert's forward read the weights of its linears, and let go of them.

    A linear that was replaced by a quantized one makes its weight by itself.

    Args:
        expert: in full precision.
        path: of it, in its layer.
        read: gives a weight of the layer by its name there.
    """
    names = linears_of(expert)
    original = expert.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        linears = {
            name: part for name in names if isinstance(part := getattr(expert, name), nn.Linear)
        }
        try:
            for name, linear in linears.items():
                _put(linear, read(f"{path}.{name}.weight"))
            return original(*args, **kwargs)
        finally:
            for linear in linears.values():
                _put(linear, linear.weight.detach().to("meta"))
            give_freed_memory_back()

    expert.forward = forward
    let_wait(expert)


def _put(linear: nn.Linear, weight: torch.Tensor) -> None:
    linear._parameters["weight"] = nn.Parameter(weight, requires_grad=False)
