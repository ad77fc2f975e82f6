"""Triton's kernels have the definition's bits: in its interpreter, else on a GPU."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

from qvlm.errors import KernelError
from qvlm.runtime import LinearParameters, QuantizedLinear
from tiny.linears import assert_equal_to, inputs, parameters

pytest.importorskip("triton", reason="Triton is not installed: pip install 'qvlm[triton]'")
DEVICE = "cpu" if os.environ["TRITON_INTERPRET"] == "1" else "cuda"
WIDTHS = [(4, 4), (4, 8), (6, 6), (8, 8)]
OTHER_WIDTHS = [(2, 2), (3, 5), (5, 3), (7, 7), (8, 4), (7, 8), (1, 8)]


def triton_of(made: LinearParameters) -> nn.Module:
    return QuantizedLinear(made, kernel="triton").to(DEVICE)


def compare(made: LinearParameters, x: torch.Tensor) -> None:
    y = triton_of(made)(x.to(DEVICE)).cpu()
    assert torch.equal(y, QuantizedLinear(made)(x))


@pytest.mark.parametrize(("weight_bits", "activation_bits"), WIDTHS + OTHER_WIDTHS)
@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
def test_all_widths(weight_bits, activation_bits, symmetric):
    for granularity in ("per_channel", "per_tensor", "per_token", "per_group"):
        made = parameters(
            19, 72, weight_bits=weight_bits, activation_bits=activation_bits, group_size=36,
            granularity=granularity, symmetric=symmetric,
        )  # fmt: skip
        compare(made, inputs(3, 72))


@pytest.mark.parametrize(("weight_bits", "activation_bits"), WIDTHS)
@pytest.mark.parametrize(
    ("group_size", "in_features"), [(16, 64), (32, 96), (128, 384), (None, 192), (3, 21)]
)
def test_group_sizes(weight_bits, activation_bits, group_size, in_features):
    made = parameters(
        17, in_features, weight_bits=weight_bits, activation_bits=activation_bits,
        group_size=group_size, far_zeros=True,
    )  # fmt: skip
    compare(made, inputs(2, in_features))


@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(4, 4), (6, 6), (8, 8)])
@pytest.mark.parametrize("group_size", [16, 32, 128])
def test_rotated_groups(weight_bits, activation_bits, group_size):
    made = parameters(
        17, 3 * group_size, weight_bits=weight_bits, activation_bits=activation_bits,
        group_size=group_size, granularity="per_group_rotated",
    )  # fmt: skip
    compare(made, inputs(5, 3 * group_size))


@pytest.mark.parametrize(("out_features", "in_features"), [(1, 1), (15, 33), (16, 7), (129, 31)])
@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(4, 4), (3, 8)])
def test_odd_shapes(weight_bits, activation_bits, out_features, in_features):
    made = parameters(
        out_features, in_features, weight_bits=weight_bits, activation_bits=activation_bits,
        bias=False, granularity="per_token",
    )  # fmt: skip
    for tokens in (1, 33):
        compare(made, inputs(tokens, in_features))


def test_several_chunks_and_tiles():
    made = parameters(70, 1040, granularity="per_token", group_size=260)
    compare(made, inputs(35, 1040))


@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(8, 8), (7, 8), (4, 8)])
@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
def test_nothing_saturates_at_the_extremes(weight_bits, activation_bits, symmetric):
    made = parameters(
        16, 1536, weight_bits=weight_bits, activation_bits=activation_bits, symmetric=symmetric,
        extreme=True, bias=False,
    )  # fmt: skip
    compare(made, torch.full((2, 1536), 1e9))


def test_a_zero_level_in_symmetric_weights_from_elsewhere():
    made = parameters(16, 64, weight_bits=8, activation_bits=8, symmetric=True)
    made.weight.levels.zero_()
    compare(made, inputs(3, 64).abs() + 1e3)


def test_halves_round_to_even_and_extremes_clamp():
    made = parameters(16, 64, activation_bits=8, granularity="per_tensor")
    assert made.grid is not None
    made.grid.scale.fill_(0.5)
    made.grid.zero_point.fill_(100)
    halves = (torch.arange(64) - 32) * 0.25
    infinities = torch.full((64,), torch.inf)
    x = torch.stack([halves, halves * 100, infinities, -infinities, torch.full((64,), 1e-45)])
    x[0, 3] = torch.nan  # becomes level 0
    compare(made, x)


@pytest.mark.parametrize("symmetric", [False, True])
def test_per_token_grids_of_zeros_tiny_values_and_nan(symmetric):
    made = parameters(16, 64, granularity="per_token", symmetric=symmetric)
    x = torch.stack([torch.zeros(64), torch.full((64,), 1e-42), torch.linspace(-3, -1, 64)])
    compare(made, x)
    x[1, 5] = torch.nan
    y = triton_of(made)(x.to(DEVICE))
    assert y[1].isnan().all()
    assert y[[0, 2]].isfinite().all()


@pytest.mark.parametrize("weight_bits", [3, 4, 8])
def test_activations_in_floating_point_agree_up_to_sums(weight_bits):
    made = parameters(37, 96, weight_bits=weight_bits, activation_bits=16, group_size=48)
    x = inputs(5, 96)
    assert_equal_to(QuantizedLinear(made)(x), triton_of(made)(x.to(DEVICE)).cpu())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_inputs(dtype):
    compare(parameters(16, 64, granularity="per_token"), inputs(5, 64).to(dtype))


def test_inputs_of_any_rank_and_stride():
    linear = triton_of(parameters(16, 64))
    x = inputs(24, 64).to(DEVICE)
    y = linear(x)
    assert torch.equal(linear(x.view(2, 3, 4, 64)), y.view(2, 3, 4, 16))
    assert torch.equal(linear(x.t().contiguous().t()), y)
    assert torch.equal(linear(x[0]), y[0])
    assert linear(x[:0]).shape == (0, 16)


@pytest.mark.skipif(DEVICE != "cpu", reason="there is a GPU")
def test_without_the_interpreter_inputs_have_to_be_on_a_gpu(monkeypatch):
    linear = triton_of(parameters(16, 64))
    monkeypatch.setattr("triton.knobs.runtime.interpret", False)
    with pytest.raises(KernelError, match=r"x is on cpu: .*on an NVIDIA GPU"):
        linear(torch.zeros(2, 64))


def test_wrong_tensors_are_refused():
    linear = triton_of(parameters(16, 64))
    with pytest.raises(KernelError, match=r"expected floats \[..., 64\]"):
        linear(torch.zeros(2, 32))
    linear.packed = linear.packed[:8]
    with pytest.raises(KernelError, match="packed does not fit 16 outputs"):
        linear(torch.zeros(2, 64, device=DEVICE))
    linear = triton_of(parameters(16, 64))
    linear.packed = linear.packed.t().contiguous().t()
    with pytest.raises(KernelError, match="packed must be contiguous and on"):
        linear(torch.zeros(2, 64, device=DEVICE))
