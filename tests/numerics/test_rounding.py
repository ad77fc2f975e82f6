"""Second-order rounding against a plain implementation, and what it promises."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from qvlm.errors import RecipeError
from qvlm.numerics import rounding
from qvlm.numerics.hessian import Hessian, error_feedback
from qvlm.numerics.rounding import Rounded, proxy_loss, round_gptq, split_rows
from qvlm.numerics.weights import QuantizedWeight, quantize_weight


def correlated(tokens: int, width: int, seed: int) -> torch.Tensor:
    """Levels minus zero points, as a site of 4 bits gives them, with neighbours alike."""
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(tokens, width // 3 + 1, generator=generator)
    mix = torch.randn(width // 3 + 1, width, generator=generator) / width**0.5
    noise = torch.randn(tokens, width, generator=generator)
    return (6 * latent @ mix + noise).round().clamp(-7, 8)


def hessian_of(x: torch.Tensor) -> Hessian:
    hessian = Hessian(x.shape[1])
    hessian.update(x)
    return hessian


def weights(rows: int, width: int, seed: int) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)) * 0.05


def same(a: QuantizedWeight, b: QuantizedWeight) -> bool:
    return (
        torch.equal(a.levels, b.levels)
        and torch.equal(a.scale, b.scale)
        and torch.equal(a.zero_point, b.zero_point)
    )


def second_order_rows(rounded: Rounded) -> torch.Tensor:
    return rounded.loss < rounded.nearest_loss


def test_rows_at_a_time_are_rows_together(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, hessian = weights(11, 48, seed=1), hessian_of(correlated(200, 48, seed=7))
    options: dict[str, Any] = {"bits": 4, "group_size": 8, "symmetric": False}
    whole = round_gptq(weight, hessian, **options)
    monkeypatch.setattr(rounding, "WEIGHTS_AT_ONCE", 4 * 48)
    parts = round_gptq(weight, hessian, **options)
    assert same(whole.weight, parts.weight)
    torch.testing.assert_close(whole.loss, parts.loss)
    torch.testing.assert_close(whole.nearest_loss, parts.nearest_loss)


SHAPES = [(5, 24, 8), (3, 35, 7), (4, 135, None), (2, 300, 150), (6, 264, 24), (1, 1, None)]
"""Rows, width, group size; blocks of 128 columns end inside, at and between groups."""


@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_every_level_is_what_a_plain_implementation_rounds_to(
    bits: int, shape: tuple[int, int, int | None], symmetric: bool
) -> None:
    """Replays GPTQ in float64, one column at a time, on the levels found."""
    rows, width, group = shape
    weight, hessian = weights(rows, width, seed=bits), hessian_of(correlated(200, width, seed=7))
    rounded = round_gptq(weight, hessian, bits=bits, group_size=group, symmetric=symmetric)
    kept, got = second_order_rows(rounded), rounded.weight
    size = got.group_size
    damped = hessian.matrix.double()
    damped.diagonal().add_(0.01 * damped.diagonal().mean())
    upper = torch.linalg.cholesky(torch.linalg.inv(damped), upper=True)
    remaining = weight.masked_fill(hessian.dead, 0.0).double()
    for column in range(width):
        number = column // size
        step = got.scale[:, number].double()
        if column % size == 0:
            members = remaining[:, column : column + size]
            grid = quantize_weight(members, bits=bits, group_size=None, symmetric=symmetric)
            torch.testing.assert_close(grid.scale[kept, 0].double(), step[kept], rtol=1e-2, atol=0)
        allowed = torch.arange(1 if symmetric else 0, 2**bits) - got.zero_point[:, number, None]
        value = step * (got.levels[:, column].double() - got.zero_point[:, number].double())
        least = (allowed * step[:, None] - remaining[:, column, None]).abs().amin(dim=1)
        error = remaining[:, column] - value
        assert (error.abs() <= least + 1e-3 * step)[kept].all(), column
        remaining -= torch.outer(error / upper[column, column], upper[column])
        # Beyond this column nothing is left of it to correct.
        remaining[:, column] = value


@pytest.mark.parametrize(
    ("bits", "symmetric", "clipping", "activation_order"),
    [*itertools.product([2, 4, 8], [False, True], ["minmax", "lp"], [False, True])],
)
def test_no_row_is_worse_than_nearest_and_most_are_clearly_better(
    bits: int, symmetric: bool, clipping: Any, activation_order: bool
) -> None:
    weight, hessian = weights(40, 96, seed=bits), hessian_of(correlated(600, 96, seed=1))
    feedback = error_feedback(hessian.matrix, activation_order=activation_order)
    scheme: dict[str, Any] = {
        "bits": bits, "group_size": 16, "symmetric": symmetric, "clipping": clipping,
    }  # fmt: skip
    rounded = round_gptq(weight, hessian, feedback, **scheme)
    nearest = quantize_weight(weight, **scheme)
    nearest_loss = proxy_loss(weight, nearest, hessian.matrix)
    torch.testing.assert_close(rounded.nearest_loss, nearest_loss)
    torch.testing.assert_close(rounded.loss, proxy_loss(weight, rounded.weight, hessian.matrix))
    assert (rounded.loss <= rounded.nearest_loss).all()
    assert rounded.loss.sum() < 0.8 * nearest_loss.sum()


def test_the_loss_is_the_squared_error_of_the_output() -> None:
    x, weight = correlated(300, 30, seed=3), weights(4, 30, seed=0)
    rounded = round_gptq(weight, hessian_of(x), bits=3, group_size=10, symmetric=False)
    output = x.double() @ (weight.double() - rounded.weight.dequantized().double()).t()
    torch.testing.assert_close(rounded.loss.double(), output.square().sum(dim=0), rtol=1e-4, atol=0)


@pytest.mark.parametrize("activation_order", [False, True])
@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
def test_uncorrelated_channels_are_rounded_to_nearest(
    symmetric: bool, activation_order: bool
) -> None:
    weight, hessian = weights(7, 40, seed=2), Hessian(40)
    hessian.update(torch.diag(torch.arange(1, 41).float()))
    feedback = error_feedback(hessian.matrix, activation_order=activation_order)
    scheme: dict[str, Any] = {"bits": 4, "group_size": 8, "symmetric": symmetric}
    rounded = round_gptq(weight, hessian, feedback, **scheme)
    assert same(rounded.weight, quantize_weight(weight, **scheme))


def test_activation_order_keeps_the_layout_and_the_nearest_grid() -> None:
    weight, hessian = weights(9, 64, seed=4), hessian_of(correlated(500, 64, seed=4))
    feedback = error_feedback(hessian.matrix, activation_order=True)
    assert feedback.order is not None
    assert feedback.order.tolist() != list(range(64))
    rounded = round_gptq(weight, hessian, feedback, bits=4, group_size=16, symmetric=False)
    nearest = quantize_weight(weight, bits=4, group_size=16, symmetric=False)
    assert torch.equal(rounded.weight.scale, nearest.scale)
    assert torch.equal(rounded.weight.zero_point, nearest.zero_point)
    assert not torch.equal(rounded.weight.levels, nearest.levels)
    # The same result as rounding permuted columns with a scale each, put back in place.
    columns = nearest.scale.repeat_interleave(16, dim=1)
    assert ((rounded.weight.dequantized() - weight).abs() < 6 * columns).all()


def test_order_of_the_columns_before_rounding_does_not_matter_with_activation_order() -> None:
    x, weight = correlated(500, 32, seed=5), weights(6, 32, seed=5)
    x = x * torch.linspace(1, 2, 32)  # no two diagonals alike
    shuffle = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    results = []
    for columns in (torch.arange(32), shuffle):
        hessian = hessian_of(x[:, columns])
        feedback = error_feedback(hessian.matrix, activation_order=True)
        results.append(
            round_gptq(
                weight[:, columns], hessian, feedback, bits=4, group_size=None, symmetric=False
            )
        )
    assert torch.equal(results[0].weight.levels[:, shuffle], results[1].weight.levels)


def test_weights_of_dead_channels_become_zero_and_do_not_widen_the_grid() -> None:
    x, weight = correlated(200, 16, seed=6), weights(5, 16, seed=6)
    x[:, [2, 9]] = 0
    weight[:, [2, 9]] = 100.0
    rounded = round_gptq(weight, hessian_of(x), bits=4, group_size=8, symmetric=False).weight
    assert (rounded.dequantized()[:, [2, 9]] == 0).all()
    assert torch.equal(rounded.levels[:, 2], rounded.zero_point[:, 0])
    assert rounded.scale.max() < 0.1


@pytest.mark.parametrize(
    "x",
    [torch.zeros(0, 12), torch.zeros(3, 12), torch.randn(1, 12), torch.ones(50, 12)],
    ids=["no token", "zeros", "one token", "all alike"],
)
def test_singular_hessians_round(x: torch.Tensor) -> None:
    weight = weights(4, 12, seed=1)
    rounded = round_gptq(weight, hessian_of(x), bits=4, group_size=4, symmetric=False)
    assert torch.isfinite(rounded.loss).all()
    assert (rounded.loss <= rounded.nearest_loss).all()
    assert torch.isfinite(rounded.weight.dequantized()).all()


def test_huge_outliers_stay_finite_and_no_worse_than_nearest() -> None:
    x = torch.randn(500, 64, generator=torch.Generator().manual_seed(0))
    x[:, 11] *= 1e4
    rounded = round_gptq(
        weights(8, 64, seed=8), hessian_of(x), bits=4, group_size=16, symmetric=False
    )
    assert torch.isfinite(rounded.weight.dequantized()).all()
    assert (rounded.loss <= rounded.nearest_loss).all()
    assert rounded.loss.sum() < rounded.nearest_loss.sum()


def test_stacked_rows_come_out_as_they_would_alone() -> None:
    hessian = hessian_of(correlated(400, 48, seed=9))
    first, second = weights(5, 48, seed=10), weights(3, 48, seed=11)
    scheme: dict[str, Any] = {"bits": 4, "group_size": 16, "symmetric": False}
    stacked = round_gptq(torch.cat([first, second]), hessian, **scheme).weight
    parts = split_rows(stacked, [5, 3])
    for part, weight in zip(parts, (first, second), strict=True):
        assert same(part, round_gptq(weight, hessian, **scheme).weight)


def test_the_same_input_gives_the_same_levels() -> None:
    weight, hessian = weights(20, 200, seed=12), hessian_of(correlated(700, 200, seed=12))
    scheme: dict[str, Any] = {"bits": 4, "group_size": 40, "symmetric": False}
    assert same(
        round_gptq(weight, hessian, **scheme).weight, round_gptq(weight, hessian, **scheme).weight
    )


def test_a_group_size_that_does_not_divide_is_an_error() -> None:
    with pytest.raises(RecipeError, match="group size 5 does not divide"):
        round_gptq(torch.zeros(2, 12), Hessian(12), bits=4, group_size=5, symmetric=False)
