"""Is it really quantized? Counts the distinct values that every product of a forward sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rival import Outcome
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from qvlm.artefacts.calibration import Batch


class NotQuantizedError(Exception):
    """A weight or an input takes more values than its bits allow."""


@dataclass(frozen=True)
class Levels:
    """Most distinct values met in the language model's linears.

    Attributes:
        weights: in a group of a weight matrix.
        activations: in one token, channel or group of an input; None where these are floats.
        linears: how many linears were looked at.
    """

    weights: int
    activations: int | None
    linears: int


@torch.no_grad()
def count_levels(model: Any, paths: Sequence[str], batch: Batch, outcome: Outcome) -> Levels:
    """Runs a batch and counts.

    Args:
        model: quantized.
        paths: linears of the language model.
        batch: calibration samples.
        outcome: says what shares a scale, and how many bits there should be.

    Raises:
        NotQuantizedError: more values than 2^bits, or a linear was not reached.
    """
    watch = _Watch(outcome)
    handles = [handle for path in paths for handle in watch.follow(path, model.get_submodule(path))]
    with watch:
        model(**batch.inputs, use_cache=False)
    for handle in handles:
        handle.remove()
    missed = set(paths) - set(watch.found)
    if missed:
        raise NotQuantizedError(f"no product was seen in {len(missed)} linears: {min(missed)}")
    floats = outcome.axis is None
    return Levels(
        weights=max(weights for weights, _ in watch.found.values()),
        activations=None if floats else max(inputs for _, inputs in watch.found.values()),
        linears=len(watch.found),
    )


class _Watch(TorchFunctionMode):
    """Sees what reaches `linear` inside a module, whichever library calls it."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self._outcome = outcome
        self._inside: str | None = None
        self.found: dict[str, tuple[int, int]] = {}

    def follow(self, path: str, module: nn.Module) -> Iterator[Any]:
        """Hooks that say when the module runs."""

        def enter(_module: nn.Module, _args: Any) -> None:
            self._inside = path

        def leave(_module: nn.Module, _args: Any, _output: Any) -> None:
            self._inside = None

        yield module.register_forward_pre_hook(enter)
        yield module.register_forward_hook(leave)

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is F.linear and self._inside is not None:
            self.found[self._inside] = self._count(args[0], args[1], self._inside)
        return func(*args, **(kwargs or {}))

    def _count(self, x: torch.Tensor, weight: torch.Tensor, path: str) -> tuple[int, int]:
        outcome = self._outcome
        width = weight.shape[1]
        weights = _most(weight.reshape(-1, outcome.group or width))
        rows = x.reshape(-1, width)
        if outcome.axis == "group":
            rows = rows.reshape(-1, outcome.group or width)
        rows = rows.T if outcome.axis == "channel" else rows
        inputs = 0 if outcome.axis is None else _most(rows)
        allowed = 2**outcome.weight_bits, 2**outcome.activation_bits
        if weights > allowed[0] or inputs > allowed[1]:
            raise NotQuantizedError(
                f"{path}: {weights} values in a group of weights, {inputs} in a {outcome.axis}, "
                f"where at most {allowed[0]} and {allowed[1]} fit"
            )
        return weights, inputs


def _most(rows: torch.Tensor) -> int:
    """Largest number of distinct values in a row of [rows, values]."""
    ordered = rows.detach().sort(dim=-1).values
    return int((ordered[:, 1:] != ordered[:, :-1]).sum(dim=-1).max()) + 1
