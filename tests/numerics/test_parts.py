"""Some rows at a time give the bits of all rows at once."""

from __future__ import annotations

import torch

from qvlm.numerics.hadamard import hadamard
from qvlm.numerics.parts import part_by_part


def _sizes(rows: list[int], x: torch.Tensor) -> torch.Tensor:
    rows.append(len(x))
    return hadamard(x.float(), 32)


def test_a_large_tensor_is_computed_in_parts_with_the_same_bits() -> None:
    x = torch.randn(3, 333, 416, generator=torch.Generator().manual_seed(0)).bfloat16()
    rows: list[int] = []
    found = part_by_part(lambda part: _sizes(rows, part), x)
    assert len(rows) > 3
    assert sum(rows) == 999
    assert rows[-1] not in rows[:-1]  # the last part is shorter
    assert torch.equal(found, hadamard(x.float(), 32))
    assert found.shape == x.shape


def test_small_tensors_rows_wider_than_a_part_and_gradients() -> None:
    rows: list[int] = []
    part_by_part(lambda part: _sizes(rows, part), torch.zeros(4, 64))
    assert rows == [4]
    part_by_part(lambda part: _sizes(rows, part), torch.zeros(2, 1 << 18))
    assert rows == [4, 1, 1]
    x = torch.ones(999, 416, requires_grad=True)
    part_by_part(lambda part: _sizes(rows, part), x).sum().backward()
    assert rows == [4, 1, 1, 999]
    assert x.grad is not None and bool(x.grad.any())
