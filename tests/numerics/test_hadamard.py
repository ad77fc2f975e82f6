"""The Hadamard transform of groups of channels."""

from __future__ import annotations

import pytest
import torch

from qvlm.numerics.hadamard import hadamard, is_power_of_two


def matrix(size: int) -> torch.Tensor:
    """Sylvester's, by its recursion."""
    result = torch.ones(1, 1, dtype=torch.float64)
    while len(result) < size:
        result = torch.kron(torch.tensor([[1.0, 1.0], [1.0, -1.0]]).double(), result)
    return result


@pytest.mark.parametrize("size", [1, 2, 8, 32, 128])
def test_it_multiplies_each_group_by_the_matrix(size: int) -> None:
    x = torch.randn(2, 3, 3 * size, dtype=torch.float64)
    expected = (x.unflatten(-1, (3, size)) @ matrix(size)).flatten(-2)
    torch.testing.assert_close(hadamard(x, size), expected)


@pytest.mark.parametrize("size", [1, 4, 64])
def test_twice_is_size_times_the_input(size: int) -> None:
    x = torch.randint(-9, 9, (5, 2 * size)).float()
    assert torch.equal(hadamard(hadamard(x, size), size), size * x)


def test_a_product_is_kept() -> None:
    x, weight = torch.randn(4, 64).double(), torch.randn(7, 64).double()
    rotated = hadamard(x, 32) @ (hadamard(weight, 32) / 32).t()
    torch.testing.assert_close(rotated, x @ weight.t())


def test_an_outlier_is_spread_over_its_group_only() -> None:
    x = torch.zeros(1, 64)
    x[0, 3] = 32.0
    spread = hadamard(x, 32)
    assert spread[0, :32].abs().eq(32.0).all()
    assert spread[0, 32:].eq(0).all()


def test_powers_of_two() -> None:
    assert [size for size in range(-2, 70) if is_power_of_two(size)] == [1, 2, 4, 8, 16, 32, 64]
