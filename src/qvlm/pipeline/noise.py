"""How far the last bits of a model's inputs move its logits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

NOISE = 1e-6
"""Relative change of an embedding: what sums in another order make of a float32."""


@contextmanager
def noisy_embeddings(model: Any) -> Iterator[None]:
    """Changes the embeddings of tokens at random, by up to a millionth or their last bit.

    A value near the middle of two levels then falls to the other side, and what follows sees a
    step more or less. In a deep model with few levels that grows until it is as large as the
    rounding itself, so no two programs that sum in different orders agree better than this.
    """
    draw = torch.Generator().manual_seed(0)

    def change(_module: nn.Module, _args: tuple[Any, ...], embedded: Tensor) -> Tensor:
        size = max(NOISE, torch.finfo(embedded.dtype).eps)
        noise = size * (2 * torch.rand(embedded.shape, generator=draw) - 1)
        return (embedded.float() * (1 + noise.to(embedded.device))).to(embedded.dtype)

    handle = model.get_input_embeddings().register_forward_hook(change)
    try:
        yield
    finally:
        handle.remove()
