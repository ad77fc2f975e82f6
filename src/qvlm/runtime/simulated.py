"""A quantized linear in plain float arithmetic: fast enough to search with."""

from __future__ import annotations

import torch
from torch import nn

from qvlm.numerics.affine import AffineGrid, per_token_grid, quantize
from qvlm.numerics.folded import folded_matmul
from qvlm.numerics.hadamard import hadamard
from qvlm.numerics.parts import part_by_part
from qvlm.runtime.parameters import LinearParameters
from qvlm.schemes.layer import FLOAT_BITS


class SimulatedLinear(nn.Module):
    """Computes y = (q - z) V^T + b with V the dequantized weight.

    Equal to the integer runtime up to the rounding of the float sums (1e-5 relative).

    Attributes:
        weight: V, [out, in] float32; without memory where it waits.
        bias: [out] float32 or None.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, parameters: LinearParameters, *, waits: bool = False) -> None:
        """Takes over parameters.

        Args:
            parameters: of the linear.
            waits: keeps the levels, a byte per weight, and V only while it computes.
        """
        super().__init__()
        self._levels = parameters.weight if waits else None
        self.activations = parameters.activations
        self.grid = parameters.grid
        self.group_size = parameters.weight.group_size
        shape = parameters.weight.levels.shape
        weight = torch.empty(shape, device="meta") if waits else parameters.weight.dequantized()
        self.register_buffer("weight", weight, persistent=False)
        self.register_buffer("bias", parameters.bias, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., in] -> [..., out], in the dtype of x."""
        return folded_matmul(self.multiplied(x), self.matrix(), self.bias).to(x.dtype)

    def matrix(self) -> torch.Tensor:
        """Returns V [out, in] in float32, made for the moment where it waits."""
        return self.weight if self._levels is None else self._levels.dequantized()

    def multiplied(self, x: torch.Tensor) -> torch.Tensor:
        """Returns what V multiplies, of the shape of x, in float32.

        Static inputs: q - z; inputs with ranges of the moment: D (q - z), in the rotated space
        where the scheme rotates; floating-point inputs: x.
        """
        if self.activations.bits == FLOAT_BITS:
            return x.float()
        return part_by_part(self._quantized, x)

    def _quantized(self, x: torch.Tensor) -> torch.Tensor:
        """What V multiplies, of some rows."""
        wide = x.float()
        if self.grid is not None:
            return _centred(wide, self.grid)
        if self.activations.is_rotated:
            wide = hadamard(wide, self.group_size)
        if self.activations.is_grouped:
            wide = torch.unflatten(wide, -1, (-1, self.group_size))
        grid = per_token_grid(wide, self.activations.bits, self.activations.symmetric)
        return _centred(wide, grid).mul_(grid.scale).reshape(x.shape)


def _centred(x: torch.Tensor, grid: AffineGrid) -> torch.Tensor:
    return quantize(x, grid).sub_(grid.zero_point)
