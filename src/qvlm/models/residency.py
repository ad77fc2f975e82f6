"""Layers whose weights are in memory only while they are used."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Protocol, cast

import torch
from torch import nn

Action = Callable[[], None]
_ATTRIBUTE = "qvlm_resident"
_WAITING = "qvlm_waiting"


class Holdable(Protocol):
    """Weights that can be read and let go of."""

    def hold(self) -> None:
        """Reads them, unless somebody holds them already."""

    def release(self) -> None:
        """Lets go of them, once nobody else holds them."""

    def read(self, name: str) -> torch.Tensor:
        """One parameter by its name in the layer."""

    def park(self, covered: Collection[str], fill: Action, empty: Action) -> None:
        """From now on leaves some parameters to others.

        Args:
            covered: names of parameters that are not read any more.
            fill: puts what replaces them in place, after the other weights are read.
            empty: takes it away again.
        """


def make_holdable(module: nn.Module, weights: Holdable) -> None:
    """Lets `resident` find the weights of a module."""
    object.__setattr__(module, _ATTRIBUTE, weights)


def holdable(model: nn.Module, path: str) -> Holdable | None:
    """The weights of a layer, where they are not always in memory."""
    return cast(Holdable | None, getattr(model.get_submodule(path), _ATTRIBUTE, None))


def stored(model: nn.Module, name: str) -> torch.Tensor:
    """Returns a tensor of the model's state dictionary, read if it is not in memory."""
    path, _, leaf = name.rpartition(".")
    tensor: torch.Tensor = getattr(model.get_submodule(path), leaf)
    return on_disk(model, name) if tensor.is_meta else tensor.detach()


def on_disk(model: nn.Module, name: str) -> torch.Tensor:
    """Returns a tensor of a layer's state dictionary as the model's files have it."""
    path, _, leaf = name.rpartition(".")
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        weights = holdable(model, ".".join(parts[:length]))
        if weights is not None:
            return weights.read(".".join([*parts[length:], leaf]))
    raise RuntimeError(f"'{name}' is nowhere to be read from")


def let_wait(expert: nn.Module) -> None:
    """Marks an expert whose weights are in memory only while it computes."""
    object.__setattr__(expert, _WAITING, True)


def is_waiting(model: nn.Module, linear: str) -> bool:
    """True for a linear of such an expert, by its path: what replaces it waits as well."""
    return getattr(model.get_submodule(linear.rpartition(".")[0]), _WAITING, False)


@contextmanager
def resident(model: nn.Module, path: str) -> Iterator[None]:
    """Keeps the weights of a layer in memory while the body runs.

    Does nothing to a layer that always is there, as all are in a model that was loaded whole.
    """
    weights = holdable(model, path)
    if weights is None:
        yield
        return
    weights.hold()
    try:
        yield
    finally:
        weights.release()
