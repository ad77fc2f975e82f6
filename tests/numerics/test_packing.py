from __future__ import annotations

import pytest
import torch

from qvlm.numerics.packing import pack_bits, unpack_bits


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize(
    "shape", [(1, 1), (2, 3), (3, 7), (1, 8), (5, 9), (4, 17), (2, 192), (0, 5), (2, 0)]
)
def test_round_trip(bits: int, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    levels = torch.randint(0, 2**bits, shape, dtype=torch.uint8)
    packed = pack_bits(levels, bits)
    assert packed.shape == (shape[0], (shape[1] * bits + 7) // 8)
    assert torch.equal(unpack_bits(packed, bits, shape[1]), levels)


@pytest.mark.parametrize(
    ("bits", "levels", "expected"),
    [
        (1, [1, 0, 1, 1, 0, 0, 0, 1, 1], "8d01"),
        (2, [1, 2, 3], "39"),
        (3, [1, 2, 3, 4, 5, 6, 7, 0, 5], "d1581f05"),
        (4, [1, 2, 15], "210f"),
        (5, [31, 0, 1], "1f04"),
        (6, [1, 2, 3, 63], "8130fc"),
        (7, [127, 1], "ff00"),
        (8, [7, 255], "07ff"),
    ],
)
def test_golden_bytes(bits: int, levels: list[int], expected: str) -> None:
    packed = pack_bits(torch.tensor([levels], dtype=torch.uint8), bits)
    assert bytes(packed[0].tolist()).hex() == expected


@pytest.mark.parametrize("bits", [3, 5, 6, 7])
def test_the_stream_is_one_little_endian_number(bits: int) -> None:
    torch.manual_seed(bits)
    levels = torch.randint(0, 2**bits, (1, 21), dtype=torch.uint8)
    number = sum(level << (bits * i) for i, level in enumerate(levels[0].tolist()))
    expected = number.to_bytes(-(-21 * bits // 8), "little")
    assert bytes(pack_bits(levels, bits)[0].tolist()) == expected


def test_a_level_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^level 16 does not fit in 4 bits$"):
        pack_bits(torch.tensor([[3, 16]], dtype=torch.uint8), 4)


@pytest.mark.parametrize("bits", [0, 9])
def test_an_impossible_width_is_refused(bits: int) -> None:
    with pytest.raises(ValueError, match="cannot be packed: use 1 to 8"):
        pack_bits(torch.zeros(1, 1, dtype=torch.uint8), bits)


def test_truncated_bytes_are_refused() -> None:
    packed = pack_bits(torch.ones(2, 10, dtype=torch.uint8), 4)
    with pytest.raises(ValueError, match=r"^10 elements of 4 bits fill 5 bytes a row, got 4$"):
        unpack_bits(packed[:, :4], 4, 10)
