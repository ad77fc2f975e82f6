"""Integer, simulated and float64 outputs of one quantized linear."""

from __future__ import annotations

import itertools
from typing import Literal

import pytest
import torch
from torch import nn

from qvlm.numerics.affine import AffineGrid, dequantize, grid_from_range, per_token_grid, quantize
from qvlm.runtime import LinearParameters, QuantizedLinear, SimulatedLinear, quantize_linear
from qvlm.schemes import ActivationScheme, LayerScheme, WeightScheme

Granularity = Literal["per_channel", "per_tensor", "per_token"]
GROUPED = [(bits, rotate) for bits in (2, 4, 6, 8) for rotate in (False, True)]
CASES = list(
    itertools.product((2, 3, 4, 6, 8), ("per_channel", "per_tensor", "per_token"), (None, 16))
)
IDS = [f"{bits}-bit {granularity} group={group}" for bits, granularity, group in CASES]


def build(
    bits: int, granularity: Granularity, group: int | None, *, symmetric: bool = False
) -> tuple[nn.Linear, torch.Tensor, LinearParameters]:
    torch.manual_seed(bits)
    linear = nn.Linear(48, 20)
    x = torch.randn(3, 7, 48) * torch.logspace(-2, 1, 48) + 0.3
    scheme = LayerScheme(
        weights=WeightScheme(
            bits=bits,
            granularity="per_channel" if group is None else "per_group",
            group_size=group,
            symmetric=symmetric,
        ),
        activations=ActivationScheme(bits=bits, granularity=granularity, symmetric=symmetric),
    )
    grid = None
    if granularity != "per_token":
        flat = x.reshape(-1, 48 if granularity == "per_channel" else 1)
        grid = grid_from_range(flat.amin(0), flat.amax(0), bits, symmetric)
    return linear, x, quantize_linear(linear, scheme, group or 48, grid)


def definition(parameters: LinearParameters, x: torch.Tensor) -> torch.Tensor:
    """y = SUM_c D_c (q - z) s (v - u) / D_c + b in float64 (METHOD 2, before any folding)."""
    bits, symmetric = parameters.activations.bits, parameters.activations.symmetric
    grid = parameters.grid or per_token_grid(x, bits, symmetric)
    x_hat = dequantize(quantize(x, grid), grid).double()
    folded = parameters.weight.dequantized().double()
    scale = grid.scale.double() if parameters.grid is not None else torch.ones(1).double()
    bias = 0 if parameters.bias is None else parameters.bias.double()
    return (x_hat / scale) @ folded.t() + bias


@pytest.mark.parametrize(("bits", "granularity", "group"), CASES, ids=IDS)
def test_both_arithmetics_agree_bit_for_bit_and_with_float64(
    bits: int, granularity: Granularity, group: int | None
) -> None:
    _, x, parameters = build(bits, granularity, group)
    integer = QuantizedLinear(parameters, "integer")(x)
    assert torch.equal(integer, QuantizedLinear(parameters, "simulated")(x))
    expected = definition(parameters, x)
    span = expected.abs().max().item()
    torch.testing.assert_close(integer.double(), expected, rtol=0, atol=2e-6 * span)
    fast = SimulatedLinear(parameters)(x)
    torch.testing.assert_close(fast.double(), expected, rtol=0, atol=1e-5 * span)
    waiting = SimulatedLinear(parameters, waits=True)
    assert torch.equal(waiting(x), fast)
    assert waiting.weight.is_meta


@pytest.mark.parametrize(("bits", "rotate"), GROUPED)
@pytest.mark.parametrize("symmetric", [False, True])
def test_grids_per_token_and_group(bits: int, rotate: bool, symmetric: bool) -> None:
    """Against y = SUM_g SUM_c D_tg (q - z) w_oc with a Hadamard matrix from its recursion."""
    torch.manual_seed(bits)
    linear = nn.Linear(48, 20)
    x = torch.randn(3, 7, 48) * torch.logspace(-2, 1, 48) + 0.3
    scheme = LayerScheme(
        weights=WeightScheme(bits=bits, group_size=16, symmetric=symmetric),
        activations=ActivationScheme(
            bits=bits,
            granularity="per_group_rotated" if rotate else "per_group",
            symmetric=symmetric,
        ),
    )
    made = quantize_linear(linear, scheme, 16, None)
    matrix = torch.ones(1, 1)
    while rotate and len(matrix) < 16:
        matrix = torch.cat((torch.cat((matrix, matrix), 1), torch.cat((matrix, -matrix), 1)))
    rotation = matrix if rotate else torch.eye(16)
    groups = x.unflatten(-1, (3, 16)) @ rotation
    grid = per_token_grid(groups, bits, symmetric)
    rounded = dequantize(quantize(groups, grid), grid).flatten(-2).double()
    expected = rounded @ made.weight.dequantized().double().t() + linear.bias.double()
    integer = QuantizedLinear(made, "integer")(x)
    assert torch.equal(integer, QuantizedLinear(made, "simulated")(x))
    close = {"rtol": 1e-4, "atol": 1e-4}  # the reference rotates by a matrix product
    torch.testing.assert_close(integer.double(), expected, **close)
    torch.testing.assert_close(SimulatedLinear(made)(x).double(), expected, **close)
    if bits == 8:
        y = linear(x)
        assert (integer - y).norm() / y.norm() < 0.01


@pytest.mark.parametrize("granularity", ["per_channel", "per_token"])
def test_symmetric_schemes_agree_too(granularity: Granularity) -> None:
    _, x, parameters = build(4, granularity, 16, symmetric=True)
    integer = QuantizedLinear(parameters, "integer")(x)
    assert torch.equal(integer, QuantizedLinear(parameters, "simulated")(x))
    torch.testing.assert_close(integer.double(), definition(parameters, x), rtol=1e-5, atol=1e-5)


def test_eight_bits_are_close_to_full_precision() -> None:
    linear, x, parameters = build(8, "per_channel", 16)
    y, y_hat = linear(x), QuantizedLinear(parameters)(x)
    assert (y_hat - y).norm() / y.norm() < 0.01


def test_weight_only_schemes_leave_the_input_alone() -> None:
    linear = nn.Linear(32, 8, bias=False)
    x = torch.randn(4, 32)
    scheme = LayerScheme(activations=ActivationScheme(bits=16))
    parameters = quantize_linear(linear, scheme, 32, None)
    expected = x @ parameters.weight.dequantized().t()
    assert torch.equal(QuantizedLinear(parameters)(x), expected)
    assert torch.equal(SimulatedLinear(parameters)(x), expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_inputs_keep_their_dtype(dtype: torch.dtype) -> None:
    linear, x, _ = build(4, "per_channel", 16)
    grid = grid_from_range(x.amin((0, 1)), x.amax((0, 1)), 4)
    parameters = quantize_linear(linear.to(dtype), LayerScheme(), 16, grid)
    y = QuantizedLinear(parameters)(x.to(dtype))
    assert y.dtype == dtype
    assert y.isfinite().all()


def test_a_constant_zero_channel_is_exact() -> None:
    linear = nn.Linear(32, 4)
    grid = grid_from_range(torch.zeros(32), torch.zeros(32), 4)
    parameters = quantize_linear(linear, LayerScheme(), 32, grid)
    y = QuantizedLinear(parameters)(torch.zeros(2, 32))
    torch.testing.assert_close(y, linear.bias.expand(2, 4))


def test_packed_weights_take_their_true_width_in_memory() -> None:
    for bits in (2, 3, 4, 5, 6, 7, 8):
        _, _, parameters = build(bits, "per_channel", 16)
        assert QuantizedLinear(parameters).packed.nbytes == 20 * 48 * bits // 8


def test_the_folded_constant_follows_the_zero_points() -> None:
    _, x, parameters = build(4, "per_channel", 16)
    grid = parameters.grid
    assert grid is not None
    moved = AffineGrid(grid.scale, (grid.zero_point + 1).clamp(max=15), grid.levels)
    other = LinearParameters(parameters.weight, parameters.bias, parameters.activations, moved)
    torch.testing.assert_close(
        QuantizedLinear(other)(x).double(), definition(other, x), rtol=1e-5, atol=1e-5
    )
