"""Run the layers of a tower one at a time on inputs that were caught earlier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from qvlm.artefacts import ModelMap, Tower
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


class EnoughError(Exception):
    """Stops a forward from within a hook, once all that was wanted of it is known."""


@torch.no_grad()
def catch_inputs(
    model: nn.Module, towers: tuple[Tower, ...], batch: Batch
) -> dict[str, TowerInput]:
    """Runs the model up to the last of the towers and returns what each of them received.

    Of the last tower, only the first layer computes: what the layers get beside the hidden state
    does not depend on it, and what comes after them is not needed. A tower that did not run (the
    vision tower on a batch of text) is left out.

    Args:
        model: the model.
        towers: in the order of their execution.
        batch: what the model reads.
    """
    hidden: dict[str, torch.Tensor] = {}
    arguments: dict[str, list[tuple[tuple[Any, ...], dict[str, Any]]]] = {}
    last = towers[-1]

    def catcher(tower: Tower) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            state, args, kwargs = _split_hidden(args, kwargs)
            hidden.setdefault(tower.name, state)
            arguments.setdefault(tower.name, []).append((args, kwargs))
            if tower is last and len(arguments[tower.name]) == len(tower.layers):
                raise EnoughError

        return hook

    hooks = {layer: catcher(tower) for tower in towers for layer in tower.layers}
    with _pre_hooks(model, hooks), _first_layer_only(model, last), suppress(EnoughError):
        model(**batch.inputs, use_cache=False)
    return {
        name: TowerInput(
            hidden=state,
            arguments=tuple(arguments[name]),
            valid=batch.valid if name in TOKEN_TOWERS else None,
        )
        for name, state in hidden.items()
    }


def layers_caught(model_map: ModelMap, towers: tuple[Tower, ...]) -> int:
    """Returns how many layers `catch_inputs` runs."""
    return model_map.layers_before(towers[-1]) + 1


@torch.no_grad()
def catch_first_hidden(model: nn.Module, tower: Tower, batch: Batch) -> torch.Tensor:
    """Runs the model up to a tower and returns the input of its first layer."""
    found: list[torch.Tensor] = []

    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append(_split_hidden(args, kwargs)[0])
        raise EnoughError

    with _pre_hooks(model, {tower.layers[0]: hook}):
        try:
            model(**batch.inputs, use_cache=False)
        except EnoughError:
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
def _first_layer_only(model: nn.Module, tower: Tower) -> Iterator[None]:
    """Lets the layers of a tower after the first hand the first one's output on as it is."""
    first, *others = [model.get_submodule(path) for path in tower.layers]
    output: list[Any] = []
    handle = first.register_forward_hook(lambda _module, _args, result: output.append(result))
    for layer in others:
        layer.forward = lambda *_args, **_kwargs: output[-1]
    try:
        yield
    finally:
        handle.remove()
        for layer in others:
            del layer.forward


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
