"""Quantized linears that gradients pass through: rounding counts as the identity.

The outputs are those of `runtime.SimulatedLinear`, bit for bit. In the backward pass a value
that is rounded to a level gets the gradient of that level, and one that is clamped gets none.
Ranges (scales and zero points, also those computed for each token) are constants.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qvlm.artefacts import ModelMap
from qvlm.models.describe import group_size_of
from qvlm.models.replay import replace_module
from qvlm.numerics.affine import AffineGrid, per_token_grid
from qvlm.numerics.folded import folded_matmul
from qvlm.numerics.hadamard import hadamard
from qvlm.numerics.precision import at_least_float32
from qvlm.numerics.weights import quantize_weight
from qvlm.runtime import quantize_linear
from qvlm.schemes import ActivationScheme, LayerScheme, Recipe
from qvlm.schemes.layer import FLOAT_BITS


class Switch:
    """Sends a model's linears through their quantizers, or around them."""

    def __init__(self) -> None:
        self.quantized = True

    @contextmanager
    def to(self, quantized: bool) -> Iterator[None]:
        """Takes one of the two paths while the body runs."""
        before, self.quantized = self.quantized, quantized
        try:
            yield
        finally:
            self.quantized = before

    def contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """For `torch.utils.checkpoint`: a layer is run again on the path that it ran on."""
        return nullcontext(), self.to(self.quantized)


class _SwitchedLinear(nn.Module, ABC):
    """The given linear, or what it becomes quantized, as the switch says."""

    def __init__(
        self,
        linear: nn.Linear,
        scheme: LayerScheme,
        group_size: int,
        grid: AffineGrid | None,
        switch: Switch,
    ) -> None:
        super().__init__()
        self.linear = linear
        self.scheme, self.grid, self._switch = scheme, grid, switch
        self.group_size = group_size

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out], in the dtype of x."""
        if not self._switch.quantized:
            return cast(Tensor, self.linear(x))
        weight, bias = self.rounded()
        return _linear(x, weight, bias, self.scheme.activations, self.group_size, self.grid)

    @abstractmethod
    def rounded(self) -> tuple[Tensor, Tensor | None]:
        """The weight as levels stand for it, and the bias."""


class TrainableQuantizedLinear(_SwitchedLinear):
    """Quantizes the weight it has at each call; weight and bias are those of the given linear."""

    def rounded(self) -> tuple[Tensor, Tensor | None]:
        """Rounds the weight; its gradient passes straight through."""
        weight = at_least_float32(self.linear.weight)
        if self.grid is not None:
            weight = weight * self.grid.scale  # as `numerics.folded.fold`
        if self.scheme.activations.is_rotated:
            weight = hadamard(weight, self.group_size) / self.group_size
        rounded: Tensor = _RoundedWeight.apply(  # type: ignore[no-untyped-call]
            weight, self.scheme, self.group_size
        )
        return rounded, None if self.linear.bias is None else at_least_float32(self.linear.bias)


class FixedQuantizedLinear(_SwitchedLinear):
    """Quantizes its weight once: only the gradient of its input is wanted."""

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        linear: nn.Linear,
        scheme: LayerScheme,
        group_size: int,
        grid: AffineGrid | None,
        switch: Switch,
    ) -> None:
        super().__init__(linear, scheme, group_size, grid, switch)
        parameters = quantize_linear(linear, scheme, group_size, grid)
        self.register_buffer("weight", parameters.weight.dequantized(), persistent=False)
        self.register_buffer("bias", parameters.bias, persistent=False)

    def rounded(self) -> tuple[Tensor, Tensor | None]:
        """What was rounded at the start."""
        return self.weight, self.bias


@contextmanager
def straight_through(
    model: nn.Module, model_map: ModelMap, recipe: Recipe, grids: Mapping[str, AffineGrid]
) -> Iterator[Switch]:
    """Replaces the linears of all sites while the body runs; yields the switch between paths.

    Args:
        model: with its full-precision linears, which are put back at the end.
        model_map: its sites. Those of the vision tower follow their weights as these change.
        recipe: schemes of the towers.
        grids: site -> grid of its input, for all static sites.
    """
    switch = Switch()
    linears: dict[str, nn.Linear] = {}
    try:
        for site in model_map.sites:
            kind = TrainableQuantizedLinear if site.tower == "vision" else FixedQuantizedLinear
            scheme = cast(LayerScheme, recipe.tower_scheme(site.tower))
            size = group_size_of(site, recipe)
            for path in site.linears:
                linear = cast(nn.Linear, model.get_submodule(path))
                module = kind(linear, scheme, size, grids.get(site.name), switch)
                linears[path] = linear
                replace_module(model, path, module)
        yield switch
    finally:
        for path, linear in linears.items():
            replace_module(model, path, linear)


def _linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    activations: ActivationScheme,
    group_size: int,
    grid: AffineGrid | None,
) -> Tensor:
    """The forward of `SimulatedLinear`, with the straight-through gradient."""
    values = at_least_float32(x)
    if activations.bits == FLOAT_BITS:
        y = F.linear(values, weight, bias)
    elif grid is not None:
        y = folded_matmul(_centred(values, grid), weight, bias)
    else:
        if activations.is_rotated:
            values = hadamard(values, group_size)
        if activations.is_grouped:
            values = torch.unflatten(values, -1, (-1, group_size))
        grid = per_token_grid(values.detach(), activations.bits, activations.symmetric)
        rounded = (_centred(values, grid) * grid.scale).reshape(x.shape)
        y = folded_matmul(rounded, weight, bias)
    return y.to(x.dtype)


def _centred(x: Tensor, grid: AffineGrid) -> Tensor:
    levels: Tensor = _RoundedLevels.apply(x, grid)  # type: ignore[no-untyped-call]
    return levels


class _RoundedLevels(torch.autograd.Function):
    """q - z; its gradient is 1 / D inside of the range."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: AffineGrid) -> Tensor:
        level = torch.round(x / grid.scale).add_(grid.zero_point)
        clamped = level.clamp(0, grid.levels - 1)
        ctx.grid = grid
        ctx.save_for_backward(clamped == level)
        return clamped.sub_(grid.zero_point)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return torch.where(inside, gradients[0] / ctx.grid.scale, 0.0), None


class _RoundedWeight(torch.autograd.Function):
    """w^; its gradient is that of w inside of the range of w's group."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, scheme: LayerScheme, group_size: int) -> Tensor:
        quantized = quantize_weight(
            weight,
            bits=scheme.weights.bits,
            group_size=group_size,
            symmetric=scheme.weights.symmetric,
            clipping=scheme.weights.clipping,
        )
        rounded = quantized.dequantized()
        # A value that was not clamped is at most half a step away, up to the rounding of floats.
        half = quantized.scale.repeat_interleave(group_size, dim=1) * 0.50001
        ctx.save_for_backward((weight - rounded).abs() <= half)
        return rounded

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors
        return torch.where(inside, gradients[0], 0.0), None, None
