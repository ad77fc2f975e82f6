"""Quantized linears as the tensors of a checkpoint (docs/format.md), and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from qvlm.artefacts import Site
from qvlm.artefacts.checkpoint import site_names, weight_names
from qvlm.numerics.affine import AffineGrid
from qvlm.numerics.packing import pack_bits, unpack_bits
from qvlm.numerics.weights import QuantizedWeight
from qvlm.runtime.parameters import LinearParameters

Read = Callable[[str, tuple[int, ...], torch.dtype], torch.Tensor]
"""(name, shape, dtype) -> tensor, or an error that names it."""


def packed_site(site: Site, parameters: Mapping[str, LinearParameters]) -> dict[str, torch.Tensor]:
    """Returns the tensors of a site's linears and of the range that they share."""
    tensors: dict[str, torch.Tensor] = {}
    grid = next(iter(parameters.values())).grid
    if grid is not None:
        scale, zero_point = site_names(site.name)
        tensors[scale] = grid.scale.float()
        tensors[zero_point] = grid.zero_point.to(torch.uint8)
    for path, linear in parameters.items():
        tensors |= packed_weight(path, linear.weight)
    return tensors


def packed_weight(path: str, weight: QuantizedWeight) -> dict[str, torch.Tensor]:
    """Returns the tensors of one matrix: of a linear, or of the embeddings."""
    levels, scale, zero_point = weight_names(path)
    tensors = {
        levels: pack_bits(weight.levels, weight.bits),
        scale: weight.scale.bfloat16(),
    }
    if not weight.symmetric:
        tensors[zero_point] = pack_bits(weight.zero_point, weight.bits)
    return tensors


def unpacked_weight(
    path: str,
    read: Read,
    shape: tuple[int, int],
    *,
    bits: int,
    group_size: int,
    symmetric: bool,
) -> QuantizedWeight:
    """Returns the weight of a packed linear.

    Args:
        path: of the linear.
        read: gives its tensors.
        shape: of the matrix, [out, in].
        bits, group_size, symmetric: as in `QuantizedWeight`.
    """
    levels, scale, zero_point = weight_names(path)
    outputs, inputs = shape
    groups = inputs // group_size
    packed = read(levels, (outputs, -(-inputs * bits // 8)), torch.uint8)
    if symmetric:
        zeros = torch.full((outputs, groups), 2 ** (bits - 1), dtype=torch.uint8)
    else:
        stored = read(zero_point, (outputs, -(-groups * bits // 8)), torch.uint8)
        zeros = unpack_bits(stored, bits, groups)
    return QuantizedWeight(
        levels=unpack_bits(packed, bits, inputs),
        scale=read(scale, (outputs, groups), torch.bfloat16).float(),
        zero_point=zeros,
        bits=bits,
        group_size=group_size,
        symmetric=symmetric,
    )


def unpacked_grid(site: str, read: Read, width: int, bits: int) -> AffineGrid:
    """Returns the static range of a site; `width` is its channels, or 1 per tensor."""
    scale, zero_point = site_names(site)
    return AffineGrid(
        scale=read(scale, (width,), torch.float32),
        zero_point=read(zero_point, (width,), torch.uint8).float(),
        levels=2**bits,
    )
