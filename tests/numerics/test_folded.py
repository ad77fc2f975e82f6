"""The integer formula against the real numbers that it stands for, in float64."""

from __future__ import annotations

import pytest
import torch

from qvlm.numerics.accumulate import combine, float_accumulators, integer_accumulators
from qvlm.numerics.affine import AffineGrid, grid_from_range, per_token_grid, quantize
from qvlm.numerics.folded import fold, folded_matmul, level_sums, output_constant
from qvlm.numerics.weights import QuantizedWeight, quantize_weight

SHAPES = [(1, 6, 1, 3), (3, 5, 7, 5), (7, 12, 5, 4), (5, 33, 9, 11), (2, 64, 3, 16)]


def real_weight(weight: QuantizedWeight) -> torch.Tensor:
    """w^ in float64, element by element."""
    rows, width = weight.levels.shape
    real = torch.empty(rows, width, dtype=torch.float64)
    for o in range(rows):
        for c in range(width):
            g = c // weight.group_size
            level = int(weight.levels[o, c]) - int(weight.zero_point[o, g])
            real[o, c] = float(weight.scale[o, g]) * level
    return real


def real_output(
    q: torch.Tensor, grid: AffineGrid, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """SUM_c x^_c w^_oc + bias_o with x^ = D (q - z), in float64."""
    x = grid.scale.double() * (q.double() - grid.zero_point.double())
    y = x @ weight.t()
    return y if bias is None else y + bias.double()


def assert_relative(actual: torch.Tensor, expected: torch.Tensor) -> None:
    largest = expected.abs().max().clamp(min=1e-6)
    assert ((actual.double() - expected).abs().max() / largest).item() < 1e-5


@pytest.mark.parametrize("weight_bits", range(2, 9))
@pytest.mark.parametrize(("tokens", "width", "rows", "group"), SHAPES)
def test_static_channels_run_in_integers(
    tokens: int, width: int, rows: int, group: int, weight_bits: int
) -> None:
    torch.manual_seed(weight_bits * 100 + width)
    activation_bits = 10 - weight_bits
    x = torch.randn(tokens, width) * (0.1 + 5 * torch.rand(width)) + torch.randn(width)
    grid = grid_from_range(x.amin(0), x.amax(0), activation_bits)
    bias = torch.randn(rows) if rows % 2 else None
    weight = quantize_weight(
        fold(torch.randn(rows, width), grid.scale),
        bits=weight_bits,
        group_size=group,
        symmetric=bool(weight_bits % 2),
    )
    q = quantize(x, grid)
    expected = real_output(q, grid, real_weight(weight) / grid.scale.double(), bias)
    accumulators = integer_accumulators(q.to(torch.uint8), weight)
    integer = combine(accumulators, weight.scale) + output_constant(weight, grid.zero_point, bias)
    assert_relative(integer, expected)
    assert_relative(folded_matmul(q - grid.zero_point, weight.dequantized(), bias), expected)


def test_one_scale_for_the_whole_tensor_broadcasts() -> None:
    torch.manual_seed(0)
    x, w, bias = torch.randn(4, 8), torch.randn(3, 8), torch.randn(3)
    grid = grid_from_range(x.min().view(1), x.max().view(1), bits=8)
    weight = quantize_weight(fold(w, grid.scale), bits=8, group_size=None, symmetric=True)
    q = quantize(x, grid)
    expected = real_output(q, grid, real_weight(weight) / grid.scale.double(), bias)
    y = combine(integer_accumulators(q.to(torch.uint8), weight), weight.scale)
    assert_relative(y + output_constant(weight, grid.zero_point, bias), expected)


@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
def test_per_token_zero_points_go_through_the_level_sums(symmetric: bool) -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 24) * torch.tensor([0.01, 1, 1, 5, 1, 100]).unsqueeze(1) + 1
    grid = per_token_grid(x, bits=6, symmetric=symmetric)
    weight = quantize_weight(torch.randn(5, 24), bits=4, group_size=8, symmetric=False)
    q = quantize(x, grid)
    y = combine(float_accumulators(q.to(torch.uint8), weight), weight.scale)
    y = (y - grid.zero_point * level_sums(weight)) * grid.scale
    assert_relative(y, real_output(q, grid, real_weight(weight), None))


def test_permuting_channels_with_whole_groups_changes_nothing() -> None:
    torch.manual_seed(0)
    x, w = torch.randn(5, 12), torch.randn(4, 12)
    order = torch.arange(12).view(3, 4)[torch.tensor([2, 0, 1])].flatten()

    def output(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        grid = grid_from_range(x.amin(0), x.amax(0), bits=4)
        weight = quantize_weight(fold(w, grid.scale), bits=4, group_size=4, symmetric=False)
        y = combine(integer_accumulators(quantize(x, grid).to(torch.uint8), weight), weight.scale)
        return y + output_constant(weight, grid.zero_point, None)

    torch.testing.assert_close(output(x[:, order], w[:, order]), output(x, w), rtol=0, atol=1e-6)
