"""Run the layers of a tower one at a time on inputs that were caught earlier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from qvlm.artefacts import Tower
from qvlm.artefacts.calibration import Batch

TOKEN_TOWERS = ("language", "head")
"""Towers whose positions are the tokens of `Batch.modality`."""


@dataclass(frozen=True)
class TowerInput:
    """What a tower received for one batch.

    Attributes:
        hidden: [samples, positions, channels], the input of the first layer.
        arguments: keyword and further positional arguments of every layer.
        valid: [samples, positions] bool, False at padding; None where all count.
    """

    hidden: torch.Tensor
    arguments: tuple[tuple[tuple[Any, ...], dict[str, Any]], ...]
    valid: torch.Tensor | None


class _CaughtError(Exception):
    """Stops a forward once the wanted input is caught."""


@torch.no_grad()
def catch_inputs(
    model: nn.Module, towers: tuple[Tower, ...], batch: Batch
) -> dict[str, TowerInput]:
    """Runs the model once and returns what each tower received.

    A tower that did not run (the vision tower on a batch of text) is left out.
    """
    hidden: dict[str, torch.Tensor] = {}
    arguments: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {}

    def catcher(name: str) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            state, args, kwargs = _split_hidden(args, kwargs)
            hidden.setdefault(name, state)
            arguments.setdefault(name, []).append((args, kwargs))

        return hook

    with _pre_hooks(model, {layer: catcher(t.name) for t in towers for layer in t.layers}):
        model(**batch.inputs, use_cache=False)
    return {
        name: TowerInput(
            hidden=state,
            arguments=tuple(arguments[name]),
            valid=batch.valid if name in TOKEN_TOWERS else None,
        )
        for name, state in hidden.items()
    }


@torch.no_grad()
def catch_first_hidden(model: nn.Module, tower: Tower, batch: Batch) -> torch.Tensor:
    """Runs the model up to a tower and returns the input of its first layer."""
    found: list[torch.Tensor] = []

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append(_split_hidden(args, kwargs)[0])
        raise _CaughtError

    with _pre_hooks(model, {tower.layers[0]: hook}):
        try:
            model(**batch.inputs, use_cache=False)
        except _CaughtError:
            return found[0]
    raise RuntimeError(f"the {tower.name} tower did not run on this batch")


@torch.no_grad()
def run_layer(
    model: nn.Module, tower: Tower, index: int, tower_input: TowerInput, hidden: torch.Tensor
) -> torch.Tensor:
    """Runs layer `index` of a tower on `hidden` [samples, positions, channels]."""
    args, kwargs = tower_input.arguments[index]
    output = model.get_submodule(tower.layers[index])(hidden, *args, **kwargs)
    result: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return result


def replace_module(model: nn.Module, path: str, module: nn.Module) -> None:
    """Puts `module` at a module path."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)


def _split_hidden(
    args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[torch.Tensor, tuple[Any, ...], dict[str, Any]]:
    """Separates a layer's hidden state from its other arguments."""
    rest = dict(kwargs)
    if args:
        return args[0], args[1:], rest
    return rest.pop("hidden_states"), args, rest


@contextmanager
def _pre_hooks(model: nn.Module, hooks: Mapping[str, Any]) -> Iterator[None]:
    handles = [
        model.get_submodule(path).register_forward_pre_hook(hook, with_kwargs=True)
        for path, hook in hooks.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
