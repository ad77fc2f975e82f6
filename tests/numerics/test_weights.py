from __future__ import annotations

import pytest
import torch

from qvlm.errors import RecipeError
from qvlm.numerics.weights import quantize_weight, resolve_group_size


def nearest_error(weight: torch.Tensor, scale: float, zero_point: int, top: int) -> torch.Tensor:
    """Least |w - w^| over every level there is."""
    grid = scale * (torch.arange(top + 1) - zero_point).double()
    return (weight.double().unsqueeze(-1) - grid).abs().amin(dim=-1)


def test_asymmetric_levels_worked_by_hand() -> None:
    weight = torch.tensor([[-8.0, 7.0, 0.4, -1.0, 0.0, 15.0, 1.0, 2.0]])
    q = quantize_weight(weight, bits=4, group_size=4, symmetric=False)
    assert q.scale.tolist() == [[1.0, 1.0]]
    assert q.zero_point.tolist() == [[8, 0]]
    assert q.levels.tolist() == [[0, 15, 8, 7, 0, 15, 1, 2]]
    assert q.dequantized().tolist() == [[-8, 7, 0, -1, 0, 15, 1, 2]]


def test_symmetric_levels_worked_by_hand() -> None:
    weight = torch.tensor([[-14.0, 3.9, 0.0, 6.0]])
    q = quantize_weight(weight, bits=4, group_size=None, symmetric=True)
    assert (q.scale.tolist(), q.zero_point.tolist(), q.group_size) == ([[2.0]], [[8]], 4)
    assert q.levels.tolist() == [[1, 10, 8, 11]]


@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
@pytest.mark.parametrize("bits", range(2, 9))
def test_every_level_is_the_nearest_for_the_stored_scale(bits: int, symmetric: bool) -> None:
    torch.manual_seed(bits)
    weight = torch.randn(3, 10) * 0.07 + 0.02
    q = quantize_weight(weight, bits=bits, group_size=5, symmetric=symmetric)
    assert torch.equal(q.scale, q.scale.bfloat16().float())
    assert int(q.levels.max()) < 2**bits
    error = (q.dequantized().double() - weight.double()).abs()
    for row in range(3):
        for group in range(2):
            columns = slice(5 * group, 5 * group + 5)
            least = nearest_error(
                weight[row, columns],
                q.scale[row, group].item(),
                int(q.zero_point[row, group]),
                2**bits - 1,
            )
            torch.testing.assert_close(error[row, columns], least, rtol=0, atol=1e-7)


def test_symmetric_weights_never_use_the_lowest_level() -> None:
    torch.manual_seed(0)
    weight = torch.randn(64, 64)
    weight[:, ::8] -= 4  # negative outliers, beyond the range that lp clipping keeps
    q = quantize_weight(weight, bits=3, group_size=8, symmetric=True, clipping="lp")
    assert q.levels.min() == 1
    assert (q.zero_point == 4).all()


def test_lp_clipping_gives_up_an_outlier_where_that_pays() -> None:
    weight = torch.cat([torch.linspace(-0.5, 0.5, 127), torch.tensor([1.0])]).unsqueeze(0)
    plain = quantize_weight(weight, bits=3, group_size=None, symmetric=True)
    clipped = quantize_weight(weight, bits=3, group_size=None, symmetric=True, clipping="lp")
    assert clipped.scale.item() < plain.scale.item()
    error = [(q.dequantized() - weight).abs().pow(2.4).sum().item() for q in (plain, clipped)]
    assert error[1] < 0.9 * error[0]


def test_output_rows_are_independent() -> None:
    torch.manual_seed(1)
    weight, order = torch.randn(9, 24), torch.randperm(9)
    q = quantize_weight(weight, bits=4, group_size=8, symmetric=False, clipping="lp")
    moved = quantize_weight(weight[order], bits=4, group_size=8, symmetric=False, clipping="lp")
    assert torch.equal(moved.levels, q.levels[order])
    assert torch.equal(moved.scale, q.scale[order])


def test_a_group_size_that_does_not_divide_is_an_error_that_says_what_to_do() -> None:
    message = (
        "group size 32 does not divide a layer's input width 72: use 24, per_channel weights, "
        "or set group_size_fallback to largest_divisor"
    )
    with pytest.raises(RecipeError) as caught:
        quantize_weight(torch.zeros(2, 72), bits=4, group_size=32, symmetric=False)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("width", "size", "resolved"),
    [(192, 32, 32), (72, 32, 24), (7, 4, 1), (13, 64, 13), (96, None, 96)],
)
def test_the_largest_divisor_is_the_fallback(width: int, size: int | None, resolved: int) -> None:
    assert resolve_group_size(width, size, "largest_divisor") == resolved


@pytest.mark.parametrize(
    ("width", "resolved"), [(192, 32), (4304, 16), (3420, 4), (96, 32), (7, 1)]
)
def test_groups_to_rotate_fall_back_to_a_power_of_two(width: int, resolved: int) -> None:
    assert resolve_group_size(width, 32, "largest_divisor", power_of_two=True) == resolved
