"""A quantized linear in plain float arithmetic: fast enough to search with."""

from __future__ import annotations

import torch
from torch import nn

from qvlm.numerics.affine import AffineGrid, per_token_grid, quantize
from qvlm.numerics.folded import folded_matmul
from qvlm.numerics.hadamard import hadamard
from qvlm.runtime.parameters import LinearParameters
from qvlm.schemes.layer import FLOAT_BITS


class SimulatedLinear(nn.Module):
    """Computes y = (q - z) V^T + b with V the dequantized weight.

    Equal to the integer runtime up to the rounding of the float sums (1e-5 relative).
    """

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, parameters: LinearParameters) -> None:
        super().__init__()
        self.activations = parameters.activations
        self.grid = parameters.grid
        self.group_size = parameters.weight.group_size
        self.register_buffer("weight", parameters.weight.dequantized(), persistent=False)
        self.register_buffer("bias", parameters.bias, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., in] -> [..., out], in the dtype of x."""
        return folded_matmul(self.multiplied(x), self.weight, self.bias).to(x.dtype)

    def multiplied(self, x: torch.Tensor) -> torch.Tensor:
        """Returns what V multiplies, of the shape of x, in float32.

        Static inputs: q - z; inputs with ranges of the moment: D (q - z), in the rotated space
        where the scheme rotates; floating-point inputs: x.
        """
        wide = x.float()
        if self.activations.bits == FLOAT_BITS:
            return wide
        if self.grid is not None:
            return _centred(wide, self.grid)
        if self.activations.is_rotated:
            wide = hadamard(wide, self.group_size)
        if self.activations.is_grouped:
            wide = torch.unflatten(wide, -1, (-1, self.group_size))
        grid = per_token_grid(wide, self.activations.bits, self.activations.symmetric)
        return (_centred(wide, grid) * grid.scale).reshape(x.shape)


def _centred(x: torch.Tensor, grid: AffineGrid) -> torch.Tensor:
    return quantize(x, grid) - grid.zero_point
