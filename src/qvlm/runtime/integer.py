"""A quantized linear in integers: packed weights, integer accumulators, one float epilogue."""

from __future__ import annotations

from typing import Literal

import torch
from torch import nn

from qvlm.numerics.accumulate import combine, float_accumulators, integer_accumulators
from qvlm.numerics.affine import AffineGrid, per_token_grid, quantize
from qvlm.numerics.folded import level_sums, output_constant
from qvlm.numerics.packing import pack_bits, unpack_bits
from qvlm.numerics.weights import QuantizedWeight
from qvlm.runtime.parameters import LinearParameters
from qvlm.schemes.layer import FLOAT_BITS

Arithmetic = Literal["integer", "simulated"]
"""`integer`: PyTorch integer products. `simulated`: the same accumulators from float products."""


class IntegerLinear(nn.Module):
    """The plain PyTorch definition of the integer runtime (METHOD: one integer semantics).

    y_o = SUM_g s_og A_og + constant_o with the integer accumulators
    A_og = SUM_c q_c v_oc - u_og SUM_c q_c. Both arithmetics give the same bits, because the
    accumulators are exact in either and the float epilogue is the same code.

    Weights are held packed at their true width and unpacked for each call.
    """

    packed: torch.Tensor
    scale: torch.Tensor
    zero_point: torch.Tensor
    constant: torch.Tensor | None
    token_sums: torch.Tensor | None
    input_scale: torch.Tensor | None
    input_zero_point: torch.Tensor | None

    def __init__(self, parameters: LinearParameters, arithmetic: Arithmetic = "integer") -> None:
        super().__init__()
        weight, grid = parameters.weight, parameters.grid
        self.arithmetic = arithmetic
        self.activations = parameters.activations
        self.bits, self.group_size, self.symmetric = (
            weight.bits,
            weight.group_size,
            weight.symmetric,
        )
        self.out_features, self.in_features = weight.levels.shape
        per_token = grid is None and self.activations.bits < FLOAT_BITS
        constant = (
            parameters.bias
            if grid is None
            else output_constant(weight, grid.zero_point, parameters.bias)
        )
        buffers = {
            "packed": pack_bits(weight.levels, weight.bits),
            "scale": weight.scale.bfloat16(),
            "zero_point": weight.zero_point,
            "constant": constant,
            "token_sums": level_sums(weight) if per_token else None,
            "input_scale": None if grid is None else grid.scale,
            "input_zero_point": None if grid is None else grid.zero_point,
        }
        for name, value in buffers.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., in] -> [..., out], in the dtype of x."""
        tokens = x.reshape(-1, self.in_features).float()
        weight = self._weight()
        if self.activations.bits == FLOAT_BITS:
            y = nn.functional.linear(tokens, weight.dequantized())
        else:
            grid = self._grid(tokens)
            levels = quantize(tokens, grid).to(torch.uint8)
            accumulate = (
                integer_accumulators if self.arithmetic == "integer" else float_accumulators
            )
            y = combine(accumulate(levels, weight), weight.scale)
            if self.token_sums is not None:
                y = (y - grid.zero_point * self.token_sums) * grid.scale
        if self.constant is not None:
            y = y + self.constant
        return y.reshape(*x.shape[:-1], self.out_features).to(x.dtype)

    def _grid(self, tokens: torch.Tensor) -> AffineGrid:
        bits = self.activations.bits
        if self.input_scale is None or self.input_zero_point is None:
            return per_token_grid(tokens, bits, self.activations.symmetric)
        return AffineGrid(self.input_scale, self.input_zero_point, 2**bits)

    def _weight(self) -> QuantizedWeight:
        return QuantizedWeight(
            levels=unpack_bits(self.packed, self.bits, self.in_features),
            scale=self.scale.float(),
            zero_point=self.zero_point,
            bits=self.bits,
            group_size=self.group_size,
            symmetric=self.symmetric,
        )

    def extra_repr(self) -> str:
        """Shape and widths, for `print(model)`."""
        return (
            f"{self.in_features}, {self.out_features}, W{self.bits}A{self.activations.bits}, "
            f"group_size={self.group_size}, {self.arithmetic}"
        )
