"""A key-value cache with room for the tokens to come.

Transformers' own joins all keys and values anew for every token: it reads and writes them once more
than attention reads them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.cache_utils import DynamicCache, DynamicLayer

LEAST_ROOM = 64
"""Tokens that there is room for at least when room is made."""
SHARE = 4
"""And at least this part of the tokens that are there: a quarter."""


class GrowingLayer(DynamicLayer):  # type: ignore[misc]
    """Keys and values at the beginning of room of their own; new ones are written behind them.

    Cropping, reordering and repeating leave other tensors in `keys` and `values`: those are moved
    to new room, so that nothing is written over which somebody may still look at.
    """

    keys: torch.Tensor
    values: torch.Tensor
    _key_room: torch.Tensor | None = None
    _value_room: torch.Tensor | None = None
    _written = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Takes states [batch, heads, tokens, channels]; returns those of all tokens."""
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            # Gradients need what was there before, and a compiler makes room of its own.
            joined: tuple[torch.Tensor, torch.Tensor]
            joined = super().update(key_states, value_states, *args, **kwargs)
            return joined
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        written = self._written
        self.keys, self._key_room = _appended(self.keys, self._key_room, written, key_states)
        self.values, self._value_room = _appended(
            self.values, self._value_room, written, value_states
        )
        self._written = self.keys.shape[-2]
        return self.keys, self.values


def let_cache_grow(model: nn.Module) -> None:
    """Lets a model's forward use growing layers wherever it is given an ordinary dynamic cache."""

    def hook(_model: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        cache = kwargs.get("past_key_values")
        if not isinstance(cache, DynamicCache):
            return
        if cache.layer_class_to_replicate is DynamicLayer:
            cache.layer_class_to_replicate = GrowingLayer
        cache.layers = [_growing(layer) for layer in cache.layers]

    model.register_forward_pre_hook(hook, with_kwargs=True)


def _growing(layer: Any) -> Any:
    """The layer itself where it is of another kind, for instance one with a window."""
    if type(layer) is not DynamicLayer:
        return layer
    growing = GrowingLayer()
    growing.__dict__.update(layer.__dict__)
    return growing


def _appended(
    held: torch.Tensor, room: torch.Tensor | None, written: int, more: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """All states, and the room at whose beginning they lie."""
    length = held.shape[-2] if held.numel() else 0
    total = length + more.shape[-2]
    if room is None or length != written or not _begins(held, room) or total > room.shape[-2]:
        capacity = total + max(LEAST_ROOM, total // SHARE)
        room = more.new_empty((*more.shape[:-2], capacity, more.shape[-1]))
        if length:
            room[..., :length, :] = held
    room[..., length:total, :] = more
    return room[..., :total, :], room


def _begins(held: torch.Tensor, room: torch.Tensor) -> bool:
    return (
        held.data_ptr() == room.data_ptr()
        and held.shape[:-2] == room.shape[:-2]
        and held.stride() == room.stride()
    )
