"""Registers functions as PyTorch operators, which `torch.compile` and `torch.export` can trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_torch_library: Any = torch.library
_LIBRARY = _torch_library.Library("qvlm", "FRAGMENT")


def register(
    schema: str, function: Callable[..., Tensor], fake: Callable[..., Tensor], key: str
) -> None:
    """Makes a function callable as `torch.ops.qvlm.NAME`.

    Args:
        schema: `NAME(...) -> Tensor`.
        function: what it computes.
        fake: an empty tensor of the result's shape and type, for tracing.
        key: dispatch key, `CPU` or `CompositeExplicitAutograd`.
    """
    name = schema.partition("(")[0]
    _LIBRARY.define(schema)
    _LIBRARY.impl(name, function, key)
    _torch_library.register_fake(f"qvlm::{name}", fake, lib=_LIBRARY)
