"""Where a model computes, and arithmetic there that a second run repeats."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import nn

CPU = torch.device("cpu")
_CUBLAS = "CUBLAS_WORKSPACE_CONFIG"
"""Without this variable cuBLAS may add up in another order from run to run."""


def device_of(model: nn.Module) -> torch.device:
    """Returns the device of a model's tensors; those that are on disk (on `meta`) do not count."""
    for tensor in chain(model.parameters(), model.buffers()):
        if tensor.device.type != "meta":
            return tensor.device
    return CPU


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Lets a GPU compute in full float32, in an order that does not change from run to run.

    Where PyTorch has no such way to compute something, it warns. The CPU needs nothing.
    """
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault(_CUBLAS, ":4096:8")
    deterministic: Any = torch.utils.deterministic
    before = (
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        deterministic.fill_uninitialized_memory,
    )
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling what is about to be written changes no result, and costs time.
    deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before[:2]
        torch.use_deterministic_algorithms(before[2], warn_only=before[3])
        deterministic.fill_uninitialized_memory = before[4]
