"""Levels of 1 to 8 bits as a dense little-endian bit stream.

Element i of a row occupies bits [i * bits, (i + 1) * bits) of the row's stream, least
significant bit first; bit n of the stream is bit n % 8 of byte n // 8. Rows start on a byte
and are padded with zero bits. Eight elements fill exactly `bits` bytes, so both directions
loop over eight phases and never over elements.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_PHASES = 8


def pack_bits(levels: Tensor, bits: int) -> Tensor:
    """Packs levels at their true width.

    Args:
        levels: [rows, cols] uint8, 0 .. 2^bits - 1.
        bits: 1 to 8.

    Returns:
        [rows, ceil(cols * bits / 8)] uint8.

    Raises:
        ValueError: the width is not 1 to 8, or a level does not fit it.
    """
    _check_width(bits)
    if levels.numel() and int(levels.max()) >= 2**bits:
        raise ValueError(f"level {int(levels.max())} does not fit in {bits} bits")
    rows, cols = levels.shape
    grouped = torch.unflatten(F.pad(levels, (0, -cols % _PHASES)), 1, (-1, _PHASES)).to(torch.int16)
    packed = levels.new_zeros(rows, grouped.shape[1], bits)
    for phase in range(_PHASES):
        byte, shift = divmod(phase * bits, 8)
        word = grouped[..., phase] << shift
        packed[..., byte] |= (word & 0xFF).to(torch.uint8)
        if shift + bits > 8:
            packed[..., byte + 1] |= (word >> 8).to(torch.uint8)
    return packed.flatten(1)[:, : _packed_width(cols, bits)].contiguous()


def unpack_bits(packed: Tensor, bits: int, cols: int) -> Tensor:
    """Undoes `pack_bits`.

    Args:
        packed: [rows, ceil(cols * bits / 8)] uint8.
        bits: 1 to 8.
        cols: elements per row.

    Returns:
        [rows, cols] uint8.

    Raises:
        ValueError: the width is not 1 to 8, or `packed` is not as wide as `cols` need.
    """
    _check_width(bits)
    width = _packed_width(cols, bits)
    if packed.shape[1] != width:
        raise ValueError(
            f"{cols} elements of {bits} bits fill {width} bytes a row, got {packed.shape[1]}"
        )
    stream = torch.unflatten(F.pad(packed, (0, -width % bits)), 1, (-1, bits))
    levels = packed.new_empty(packed.shape[0], stream.shape[1], _PHASES)
    for phase in range(_PHASES):
        byte, shift = divmod(phase * bits, 8)
        value = stream[..., byte] >> shift
        if shift + bits > 8:
            value = value | (stream[..., byte + 1] << (8 - shift))
        levels[..., phase] = value & (2**bits - 1)
    return levels.flatten(1)[:, :cols].contiguous()


def _packed_width(cols: int, bits: int) -> int:
    return -(-cols * bits // 8)


def _check_width(bits: int) -> None:
    if not 1 <= bits <= 8:
        raise ValueError(f"levels of {bits} bits cannot be packed: use 1 to 8")
