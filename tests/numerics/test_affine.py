from __future__ import annotations

import pytest
import torch

from qvlm.numerics.affine import AffineGrid, dequantize, grid_from_range, per_token_grid, quantize


def roundtrip(x: torch.Tensor, grid: AffineGrid) -> torch.Tensor:
    return dequantize(quantize(x, grid), grid)


def test_asymmetric_grid_worked_by_hand() -> None:
    grid = grid_from_range(torch.tensor([-5.0]), torch.tensor([10.0]), bits=4)
    assert grid.scale.tolist() == [1.0]
    assert grid.zero_point.tolist() == [5.0]
    assert grid.levels == 16
    x = torch.tensor([-5.0, -0.4, 0.0, 2.6, 10.0, 99.0, -99.0])
    assert quantize(x, grid).tolist() == [0, 5, 5, 8, 15, 15, 0]
    assert roundtrip(x, grid).tolist() == [-5, 0, 0, 3, 10, 10, -5]


def test_symmetric_grid_worked_by_hand() -> None:
    grid = grid_from_range(torch.tensor([-3.0]), torch.tensor([14.0]), bits=4, symmetric=True)
    assert grid.scale.tolist() == [2.0]
    assert grid.zero_point.tolist() == [8.0]
    assert quantize(torch.tensor([-14.0, 0.0, 14.0]), grid).tolist() == [1, 8, 15]


def test_halves_round_to_even() -> None:
    grid = AffineGrid(torch.ones(1), torch.zeros(1), 16)
    assert quantize(torch.tensor([0.5, 1.5, 2.5, 3.5]), grid).tolist() == [0, 2, 2, 4]


@pytest.mark.parametrize(
    ("lower", "upper", "zero_point"), [(2.0, 7.0, 0.0), (-7.0, -2.0, 255.0)], ids=["above", "below"]
)
def test_a_range_on_one_side_of_zero_is_widened_to_it(
    lower: float, upper: float, zero_point: float
) -> None:
    grid = grid_from_range(torch.tensor([lower]), torch.tensor([upper]), bits=8)
    assert grid.scale.item() == pytest.approx(7 / 255)
    assert grid.zero_point.item() == zero_point
    assert roundtrip(torch.zeros(1), grid).item() == 0.0


@pytest.mark.parametrize("bits", range(2, 9))
def test_zero_is_always_exact(bits: int) -> None:
    lower, upper = -torch.rand(100) * 3, torch.rand(100) * 5
    for symmetric in (False, True):
        grid = grid_from_range(lower, upper, bits, symmetric)
        assert not roundtrip(torch.zeros(100), grid).any()


def test_float16_input_is_computed_in_float32() -> None:
    lower, upper = torch.tensor([-6e4]).half(), torch.tensor([6e4]).half()
    grid = grid_from_range(lower, upper, bits=8)  # upper - lower overflows float16
    assert grid.scale.dtype == torch.float32
    assert grid.scale.item() == pytest.approx((upper.item() - lower.item()) / 255, rel=1e-6)
    assert quantize(upper, grid).item() == 255


def test_a_token_has_its_own_range() -> None:
    x = torch.tensor([[[0.0, 15.0, 3.0], [-30.0, 0.0, 0.0]]])
    grid = per_token_grid(x, bits=4)
    assert grid.scale.shape == (1, 2, 1)
    assert grid.scale.flatten().tolist() == [1.0, 2.0]
    assert grid.zero_point.flatten().tolist() == [0.0, 15.0]
    assert torch.equal(roundtrip(x, grid), x)
