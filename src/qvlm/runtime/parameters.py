"""The parameters of one quantized linear, and how they come from its weights and ranges."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from qvlm.numerics.affine import AffineGrid
from qvlm.numerics.folded import fold
from qvlm.numerics.hadamard import hadamard
from qvlm.numerics.parts import part_by_part
from qvlm.numerics.weights import QuantizedWeight, quantize_weight
from qvlm.schemes import ActivationScheme, LayerScheme


@dataclass(frozen=True)
class LinearParameters:
    """Everything that defines the output of a quantized linear.

    Attributes:
        weight: levels of W; of the folded D_c W_oc where activations are static, of W H / G where
            they are rotated in groups of G.
        bias: [out] float32 or None.
        activations: scheme of the input.
        grid: static grid of the input, scale and zero point [in] or [1]; None where the
            input is quantized per token at run time or not at all.
    """

    weight: QuantizedWeight
    bias: torch.Tensor | None
    activations: ActivationScheme
    grid: AffineGrid | None


@torch.no_grad()
def quantize_linear(
    linear: nn.Linear, scheme: LayerScheme, group_size: int, grid: AffineGrid | None
) -> LinearParameters:
    """Quantizes a linear's weights, folding a static activation grid into them first.

    Args:
        linear: weight [out, in] in any float dtype.
        scheme: bits and granularity.
        group_size: input channels that share a weight scale.
        grid: static activation grid, required exactly where `scheme.activations.is_static`.
    """
    quantized = quantize_weight(
        multiplier(linear, grid, scheme, group_size),
        bits=scheme.weights.bits,
        group_size=group_size,
        symmetric=scheme.weights.symmetric,
        clipping=scheme.weights.clipping,
    )
    return with_weight(linear, quantized, scheme, grid)


def multiplier(
    linear: nn.Linear, grid: AffineGrid | None, scheme: LayerScheme, group_size: int
) -> torch.Tensor:
    """Returns the matrix that is quantized, [out, in] float32: D_c W_oc, W H / G, or W."""
    weight = linear.weight.detach().float()
    if scheme.activations.is_rotated:
        return part_by_part(lambda rows: hadamard(rows, group_size) / group_size, weight)
    return weight if grid is None else fold(weight, grid.scale)


def with_weight(
    linear: nn.Linear, weight: QuantizedWeight, scheme: LayerScheme, grid: AffineGrid | None
) -> LinearParameters:
    """Returns the parameters of a linear whose `multiplier` was quantized to `weight`."""
    bias = None if linear.bias is None else linear.bias.detach().float()
    return LinearParameters(weight, bias, scheme.activations, grid)
