"""Run the layers of a tower one at a time on inputs that were caught earlier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from qvlm.artefacts import ModelMap, Tower
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.layout import TOKEN_TOWERS
from qvlm.errors import ModelError

Call = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments of a layer beside its hidden state."""


@dataclass(frozen=True)
class TowerInput:
    """What a tower received for one batch.

    Attributes:
        hidden: the input of the first layer, [samples, positions, channels], or [positions,
            channels] where a tower packs its images one after the other.
        arguments: index of a layer -> its other arguments. A layer that this batch does not
            reach (cross-attention without an image) is missing: it hands its input on.
        added: index of a layer -> what the model adds to the output of the layer before it.
        valid: [samples, positions] bool, False at padding; None where all count.
        device: where the tower computes.
    """

    hidden: torch.Tensor
    arguments: Mapping[int, Call]
    added: Mapping[int, torch.Tensor]
    valid: torch.Tensor | None
    device: torch.device


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
    catchers = {tower.name: _Catcher(tower) for tower in towers}
    last = towers[-1]
    if last.name not in TOKEN_TOWERS and not batch.has_images:
        return {}  # found out by running, it would take the whole model
    with ExitStack() as stack:
        for tower in towers:
            catchers[tower.name].watch(model, stack, stop=tower is last)
        stack.enter_context(_first_layer_only(model, last))
        with suppress(EnoughError):
            model(**batch.inputs, use_cache=False)
    return {
        name: TowerInput(
            hidden=catcher.hidden,
            arguments=catcher.arguments,
            added=catcher.added,
            valid=batch.valid if name in TOKEN_TOWERS else None,
            device=catcher.hidden.device,
        )
        for name, catcher in catchers.items()
        if catcher.hidden is not None
    }


def catch_tower(model: nn.Module, tower: Tower, batch: Batch) -> TowerInput | None:
    """Returns what one tower receives from the model as it is; None where it does not run."""
    return catch_inputs(model, (tower,), batch).get(tower.name)


def layers_caught(model_map: ModelMap, towers: tuple[Tower, ...]) -> int:
    """Returns how many layers `catch_inputs` runs."""
    last = towers[-1]
    return model_map.layers_before(last) + min(len(last.layers) - 1, 1)


@torch.no_grad()
def run_layer(
    model: nn.Module, tower: Tower, index: int, tower_input: TowerInput, hidden: torch.Tensor
) -> torch.Tensor:
    """Runs layer `index` of a tower on `hidden`, the output of the layer before it.

    What was kept in a file comes to the device of the tower.
    """
    hidden = hidden.to(tower_input.device)
    if index not in tower_input.arguments:
        return hidden
    if index in tower_input.added:
        hidden = hidden + tower_input.added[index]
    args, kwargs = tower_input.arguments[index]
    return _hidden_of(model.get_submodule(tower.layers[index])(hidden, *args, **kwargs))


def replace_module(model: nn.Module, path: str, module: nn.Module) -> None:
    """Puts `module` at a module path."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, module)


class _Catcher:
    """Notes what the layers of one tower receive during a forward."""

    def __init__(self, tower: Tower) -> None:
        self._tower = tower
        self._output: torch.Tensor | None = None
        self.hidden: torch.Tensor | None = None
        self.arguments: dict[int, Call] = {}
        self.added: dict[int, torch.Tensor] = {}

    def watch(self, model: nn.Module, stack: ExitStack, *, stop: bool) -> None:
        """Hooks every layer until the stack closes; `stop` ends the forward after the last."""
        for index, path in enumerate(self._tower.layers):
            layer = model.get_submodule(path)
            before = partial(self._before, index, stop=stop and path == self._tower.layers[-1])
            stack.callback(layer.register_forward_pre_hook(before, with_kwargs=True).remove)
            stack.callback(layer.register_forward_hook(self._after).remove)

    def _before(
        self,
        index: int,
        _layer: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        stop: bool,
    ) -> None:
        state, args, kwargs = split_hidden(args, kwargs)
        if index in self.arguments:
            raise ModelError(
                f"'{self._tower.layers[index]}' runs more than once per forward: its inputs "
                "cannot be told apart"
            )
        if self.hidden is None:
            self.hidden = state
        self.arguments[index] = args, kwargs
        if self._output is not None and self._output is not state:
            self._note_added(index, state, self._output)
        if stop:
            raise EnoughError

    def _after(self, _layer: nn.Module, _args: Any, output: Any) -> None:
        self._output = _hidden_of(output)

    def _note_added(self, index: int, state: torch.Tensor, before: torch.Tensor) -> None:
        if state.shape != before.shape:
            raise ModelError(
                f"the hidden state changes its shape before '{self._tower.layers[index]}': "
                "this kind of tower is not supported"
            )
        difference = state - before
        if bool(difference.any()):
            self.added[index] = difference


def _hidden_of(output: Any) -> torch.Tensor:
    """The hidden state among what a layer returns."""
    hidden: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return hidden


def split_hidden(
    args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[torch.Tensor, tuple[Any, ...], dict[str, Any]]:
    """Separates a layer's hidden state from its other arguments."""
    rest = dict(kwargs)
    if args:
        return args[0], args[1:], rest
    return rest.pop("hidden_states"), args, rest


@contextmanager
def _first_layer_only(model: nn.Module, tower: Tower) -> Iterator[None]:
    """Lets the layers of a tower after the first hand their input on as it is."""
    first, *others = [model.get_submodule(path) for path in tower.layers]
    own = [layer.__dict__.get("forward") for layer in others]
    outputs: list[Any] = []
    handle = first.register_forward_hook(lambda _module, _args, result: outputs.append(result))

    def hand_on(*args: Any, **kwargs: Any) -> Any:
        state = split_hidden(args, kwargs)[0]
        is_tuple = bool(outputs) and isinstance(outputs[-1], tuple)
        return (state, *outputs[-1][1:]) if is_tuple else state

    for layer in others:
        layer.forward = hand_on
    try:
        yield
    finally:
        handle.remove()
        for layer, forward in zip(others, own, strict=True):
            if forward is None:
                del layer.forward
            else:
                layer.forward = forward
