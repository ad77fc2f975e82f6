"""A quantized linear in the arithmetic of compressed-tensors: signed levels, one input scale."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from qvlm.export.standard.scheme import INT_QUANTIZED
from qvlm.runtime import LinearParameters


@dataclass(frozen=True)
class SignedLinear:
    """w^_oc = scale_og levels_oc, x^ = input_scale (q - input_zero_point).

    Attributes:
        levels: [out, in] int8.
        scale: [out, groups] float32.
        bits: of the levels.
        input_scale: [1] float32, None where the input has none of its own.
        input_zero_point: [1] int8, None where it is 0.
        bias: [out], or None.
    """

    levels: Tensor
    scale: Tensor
    bits: int
    input_scale: Tensor | None
    input_zero_point: Tensor | None
    bias: Tensor | None

    def scaled_rows(self, factor: Tensor) -> SignedLinear:
        """The linear whose output o is factor_o times as large; its levels are the same."""
        bias = None if self.bias is None else self.bias * factor
        return replace(self, scale=self.scale * factor[:, None], bias=bias)

    def row_parts(self, count: int) -> tuple[SignedLinear, ...]:
        """Linears of its first rows, the next, and so on, equally many each."""
        biases = (None,) * count if self.bias is None else self.bias.chunk(count)
        rows = zip(self.levels.chunk(count), self.scale.chunk(count), biases, strict=True)
        return tuple(
            replace(self, levels=levels, scale=scale, bias=bias) for levels, scale, bias in rows
        )


def signed(parameters: LinearParameters, unit: float | None) -> SignedLinear:
    """Returns a native linear with signed levels: the same levels, other scales.

    Args:
        parameters: of symmetric weights; a static input has one scale, or one per channel that
            was moved into what makes the input.
        unit: the input's scale after that move; None where nothing was moved.
    """
    weight, grid = parameters.weight, parameters.grid
    half = 2 ** (weight.bits - 1)
    input_scale = input_zero_point = None
    scale = weight.scale
    if grid is not None:
        # The stored weight is folded: D W, of which the schema wants W.
        step = float(grid.scale) if unit is None else unit
        scale = scale / step
        input_scale = torch.tensor([step])
        if not parameters.activations.symmetric:
            middle = grid.levels // 2
            input_zero_point = (grid.zero_point.reshape(1) - middle).to(torch.int8)
    return SignedLinear(
        levels=(weight.levels.to(torch.int16) - half).to(torch.int8),
        scale=scale,
        bits=weight.bits,
        input_scale=input_scale,
        input_zero_point=input_zero_point,
        bias=parameters.bias,
    )


def tensors_of(linear: SignedLinear, form: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """Returns leaf name -> tensor as a checkpoint of that form stores a linear.

    Args:
        linear: to store.
        form: `int-quantized` or `pack-quantized`.
        dtype: of scales and biases, the model's.
    """
    from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32

    found = {"weight_scale": linear.scale.to(dtype)}
    if form == INT_QUANTIZED:
        found["weight"] = linear.levels
    else:
        found["weight_packed"] = pack_to_int32(linear.levels, linear.bits)
        found["weight_shape"] = torch.tensor(linear.levels.shape)
    if linear.input_scale is not None:
        found["input_scale"] = linear.input_scale.to(dtype)
    if linear.input_zero_point is not None:
        found["input_zero_point"] = linear.input_zero_point
    if linear.bias is not None:
        found["bias"] = linear.bias.to(dtype)
    return found
