"""Facts that hold for every input, on inputs that hypothesis looks for."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qvlm.numerics.affine import dequantize, grid_from_range, per_token_grid, quantize
from qvlm.numerics.clipping import TailQuantiles, clip_error
from qvlm.numerics.packing import pack_bits, unpack_bits
from qvlm.numerics.weights import quantize_weight

quick = settings(max_examples=60, deadline=None, derandomize=True)

CLIPPINGS: tuple[Literal["minmax", "lp"], ...] = ("minmax", "lp")
BITS = st.integers(2, 8)
MAGNITUDES = st.sampled_from([1e-30, 1e-6, 0.02, 1.0, 400.0, 1e8])


@st.composite
def matrices(draw: st.DrawFn, columns: int = 8) -> torch.Tensor:
    """Rows of mixed magnitudes, some constant or zero, some with an outlier."""
    rows = draw(st.integers(1, 5))
    values = st.floats(-1, 1, width=32)
    result = torch.zeros(rows, columns)
    for row in range(rows):
        line = torch.tensor(draw(st.lists(values, min_size=columns, max_size=columns)))
        if draw(st.booleans()):
            line[0] *= 50
        result[row] = line * draw(MAGNITUDES)
    return result


@quick
@given(x=matrices(), bits=BITS, symmetric=st.booleans())
def test_levels_survive_a_round_trip(x: torch.Tensor, bits: int, symmetric: bool) -> None:
    grid = per_token_grid(x, bits, symmetric)
    q = quantize(x, grid)
    assert torch.equal(quantize(dequantize(q, grid), grid), q)
    every = torch.arange(2.0**bits).expand(len(x), -1)
    assert torch.equal(quantize(dequantize(every, grid), grid), every)


@quick
@given(x=matrices(), bits=BITS, symmetric=st.booleans())
def test_levels_are_whole_numbers_in_range(x: torch.Tensor, bits: int, symmetric: bool) -> None:
    q = quantize(x * 3, per_token_grid(x, bits, symmetric))
    assert torch.equal(q, q.round())
    assert q.min() >= 0
    assert q.max() <= 2**bits - 1


@quick
@given(x=matrices(), bits=BITS, symmetric=st.booleans())
def test_inside_the_range_the_error_is_at_most_half_a_step(
    x: torch.Tensor, bits: int, symmetric: bool
) -> None:
    grid = per_token_grid(x, bits, symmetric)
    error = (dequantize(quantize(x, grid), grid).double() - x.double()).abs()
    assert (error <= grid.scale.double() * (0.5 + 1e-4)).all()


@quick
@given(
    value=st.sampled_from([0.0, 1e-45, 1e-40, -1e-39]),
    bits=BITS,
    symmetric=st.booleans(),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32]),
)
def test_a_channel_without_range_is_finite_and_exactly_zero(
    value: float, bits: int, symmetric: bool, dtype: torch.dtype
) -> None:
    x = torch.full((3, 4), value).to(dtype)
    grid = grid_from_range(x.amin(0), x.amax(0), bits, symmetric)
    assert torch.isfinite(grid.scale).all()
    assert (grid.scale > 0).all()
    assert not dequantize(quantize(x, grid), grid).any()
    for clipping in CLIPPINGS:
        weight = quantize_weight(x, bits=bits, group_size=2, symmetric=symmetric, clipping=clipping)
        assert torch.isfinite(weight.scale.half()).all()
        assert not weight.dequantized().any()


@quick
@given(weight=matrices(), bits=BITS, symmetric=st.booleans(), lp_norm=st.sampled_from([1.0, 2.4]))
def test_lp_clipped_weights_are_never_worse_than_min_max(
    weight: torch.Tensor, bits: int, symmetric: bool, lp_norm: float
) -> None:
    errors = []
    for clipping in CLIPPINGS:
        q = quantize_weight(
            weight,
            bits=bits,
            group_size=4,
            symmetric=symmetric,
            clipping=clipping,
            lp_norm=lp_norm,
        )
        error = (q.dequantized() - weight).abs().pow(lp_norm)
        errors.append(torch.unflatten(error, 1, (2, 4)).sum(dim=-1))
    assert (errors[1] <= errors[0] * (1 + 1e-5)).all()


@quick
@given(weight=matrices(), bits=BITS, symmetric=st.booleans())
def test_weights_are_within_half_a_step_and_the_rounding_of_the_scale(
    weight: torch.Tensor, bits: int, symmetric: bool
) -> None:
    q = quantize_weight(weight, bits=bits, group_size=8, symmetric=symmetric)
    error = (q.dequantized().double() - weight.double()).abs()
    # Rounding the scale to 8 bits moves the ends of the range by up to 2^-9 of it.
    assert (error <= q.scale.double() * (0.501 + 2**bits * 2.0**-9)).all()
    assert not error[weight == 0].any()


@quick
@given(x=matrices(columns=3), bits=BITS, symmetric=st.booleans())
def test_the_best_percentile_is_never_worse_than_min_max(
    x: torch.Tensor, bits: int, symmetric: bool
) -> None:
    tails = TailQuantiles(3, (1.0, 0.9, 0.8, 0.7), len(x))
    tails.update(x)
    lower, upper = tails.ranges()
    errors = clip_error(x, lower, upper, bits, symmetric, 2.4)
    grid = grid_from_range(x.amin(0), x.amax(0), bits, symmetric)
    plain = (dequantize(quantize(x, grid), grid) - x).abs().pow(2.4).double().sum()
    assert errors.min() <= plain * (1 + 1e-5)
    assert (lower[1:] >= lower[:-1]).all()
    assert (upper[1:] <= upper[:-1]).all()


@quick
@given(
    bits=st.integers(1, 8),
    rows=st.integers(0, 4),
    cols=st.integers(0, 40),
    seed=st.integers(0, 2**16),
)
def test_packing_loses_nothing(bits: int, rows: int, cols: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    levels = torch.randint(0, 2**bits, (rows, cols), dtype=torch.uint8, generator=generator)
    assert torch.equal(unpack_bits(pack_bits(levels, bits), bits, cols), levels)


@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
def test_quantizing_commutes_with_permuting_channels(symmetric: bool) -> None:
    torch.manual_seed(0)
    x, order = torch.randn(20, 9) * torch.rand(9) * 7, torch.randperm(9)

    def roundtrip(x: torch.Tensor) -> torch.Tensor:
        grid = grid_from_range(x.amin(0), x.amax(0), 4, symmetric)
        return dequantize(quantize(x, grid), grid)

    assert torch.equal(roundtrip(x[:, order]), roundtrip(x)[:, order])
