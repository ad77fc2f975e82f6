"""Matrix products of a float32 model on the CPU, by whichever library has the faster ones there.

PyTorch computes them with MKL. On AMD's processors MKL leaves half of AVX-512 unused, and oneDNN,
which PyTorch brings along, is about twice as fast (`benchmarks/evaluation`, part `products`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from qvlm import machine

MANY_ROWS = 128
"""Rows from which it pays to lay the weight out anew for each product."""
MANY_POSITIONS = 4 * MANY_ROWS
"""Positions of a batch from which it pays to look at every call of PyTorch."""


def fast_products(model: nn.Module, positions: int) -> AbstractContextManager[None]:
    """Returns a context in which linear layers of a float32 model run fast; last bits may differ.

    It does nothing where MKL is as fast, for few positions, and to models of other types or on
    other devices.

    Args:
        model: that runs in the context.
        positions: of a batch, all sequences together.
    """
    if positions < MANY_POSITIONS or not is_onednn_faster():
        return nullcontext()
    parameter = next(model.parameters(), None)
    if parameter is None or parameter.dtype != torch.float32 or parameter.device.type != "cpu":
        return nullcontext()
    return OneDNN()


@cache
def is_onednn_faster() -> bool:
    """True on AMD's AVX-512, where PyTorch has both libraries."""
    backends: Any = torch.backends
    return (
        backends.mkl.is_available()
        and backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and "avx512f" in machine.processor_features()
        and machine.processor_vendor() == "AuthenticAMD"
    )


class OneDNN(TorchFunctionMode):
    """Sends products of many rows to oneDNN."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is F.linear and not kwargs and _suits(*args[:2]):
            x, weight, *bias = args
            plain = weight.detach().to_mkldnn()
            return torch.ops.mkldnn._linear_pointwise(x, plain, *(bias or [None]), "none", [], "")
        return func(*args, **(kwargs or {}))


def _suits(x: torch.Tensor, weight: torch.Tensor) -> bool:
    return (
        x.dtype == weight.dtype == torch.float32
        and x.device.type == weight.device.type == "cpu"
        and weight.ndim == 2
        and x.numel() >= MANY_ROWS * x.shape[-1]
        and not torch.is_grad_enabled()
    )
