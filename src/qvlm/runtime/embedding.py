"""A table of token embeddings that is packed in memory; rows are unpacked when they are read."""

from __future__ import annotations

import torch
from torch import nn

from qvlm.numerics.packing import pack_bits, unpack_bits
from qvlm.numerics.weights import QuantizedWeight


class QuantizedEmbedding(nn.Module):
    """Looks up rows w = s (v - u) of a packed table.

    Memory is that of the packed levels, scales and zero points.
    """

    weight_packed: torch.Tensor
    weight_scale: torch.Tensor
    weight_zero_point: torch.Tensor

    def __init__(self, table: QuantizedWeight, dtype: torch.dtype) -> None:
        """Packs a table.

        Args:
            table: levels [rows, width].
            dtype: of what is returned.
        """
        super().__init__()
        self.num_embeddings, self.embedding_dim = table.levels.shape
        self.bits, self.group_size, self.symmetric = table.bits, table.group_size, table.symmetric
        self.dtype = dtype
        self.register_buffer("weight_packed", pack_bits(table.levels, table.bits), persistent=False)
        self.register_buffer("weight_scale", table.scale.bfloat16(), persistent=False)
        self.register_buffer("weight_zero_point", table.zero_point, persistent=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Token ids, any shape -> [..., width]."""
        rows = ids.flatten()
        table = QuantizedWeight(
            levels=unpack_bits(self.weight_packed[rows], self.bits, self.embedding_dim),
            scale=self.weight_scale[rows].float(),
            zero_point=self.weight_zero_point[rows],
            bits=self.bits,
            group_size=self.group_size,
            symmetric=self.symmetric,
        )
        return table.dequantized().to(self.dtype).view(*ids.shape, self.embedding_dim)

    def extra_repr(self) -> str:
        """What `print(model)` says of it."""
        return f"{self.num_embeddings}, {self.embedding_dim}, bits={self.bits}"
