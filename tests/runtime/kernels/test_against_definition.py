"""Every kernel path that runs here against the definition."""

from __future__ import annotations

import pytest
import torch

from qvlm.numerics.weights import QuantizedWeight
from qvlm.runtime import LinearParameters, QuantizedLinear
from tiny.linears import PATHS, assert_equal_to, inputs, parameters

pytestmark = pytest.mark.parametrize("path", PATHS)
WIDTHS = [(4, 4), (4, 8), (6, 6), (8, 8), (4, 16), (8, 16)]
OTHER_WIDTHS = [(2, 2), (3, 5), (5, 3), (7, 7), (8, 4), (7, 8), (6, 16), (1, 8)]


def same_bits(path, made, x):
    assert torch.equal(QuantizedLinear(made, kernel=path)(x), QuantizedLinear(made)(x))


GROUPED_WIDTHS = [(4, 4), (4, 8), (6, 6), (8, 8), (3, 5), (7, 7)]


def compare(path, made, x):
    assert_equal_to(QuantizedLinear(made)(x), QuantizedLinear(made, kernel=path)(x))


@pytest.mark.parametrize(("weight_bits", "activation_bits"), WIDTHS + OTHER_WIDTHS)
@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
def test_all_widths(path, weight_bits, activation_bits, symmetric):
    for granularity in ("per_channel", "per_tensor", "per_token"):
        made = parameters(
            37, 64, weight_bits=weight_bits, activation_bits=activation_bits, group_size=32,
            granularity=granularity, symmetric=symmetric,
        )  # fmt: skip
        compare(path, made, inputs(9, 64))


@pytest.mark.parametrize(("weight_bits", "activation_bits"), WIDTHS)
@pytest.mark.parametrize("tokens", [1, 2, 3, 4, 5, 6, 7, 13, 16, 17, 23])
def test_decode_and_prefill_shapes(path, weight_bits, activation_bits, tokens):
    made = parameters(
        50, 96, weight_bits=weight_bits, activation_bits=activation_bits, group_size=16
    )
    compare(path, made, inputs(tokens, 96))


@pytest.mark.parametrize(("weight_bits", "activation_bits"), WIDTHS)
@pytest.mark.parametrize("group_size", [16, 32, 64, 128, None, 3, 6, 1])
def test_group_sizes(path, weight_bits, activation_bits, group_size):
    made = parameters(
        17, 384, weight_bits=weight_bits, activation_bits=activation_bits, group_size=group_size
    )
    for tokens in (2, 8, 19):
        compare(path, made, inputs(tokens, 384))


@pytest.mark.parametrize(("out_features", "in_features"), [(1, 1), (15, 33), (16, 7), (129, 31)])
@pytest.mark.parametrize(("weight_bits", "activation_bits"), WIDTHS)
def test_odd_shapes(path, weight_bits, activation_bits, out_features, in_features):
    made = parameters(
        out_features, in_features, weight_bits=weight_bits, activation_bits=activation_bits,
        bias=False,
    )  # fmt: skip
    for tokens in (1, 11, 19):
        compare(path, made, inputs(tokens, in_features))


@pytest.mark.parametrize(("weight_bits", "activation_bits"), WIDTHS)
@pytest.mark.parametrize("group_size", [None, 32, 1500])
def test_channels_in_several_spans(path, weight_bits, activation_bits, group_size):
    width = 3000 if group_size == 1500 else 3008
    made = parameters(
        20, width, weight_bits=weight_bits, activation_bits=activation_bits, group_size=group_size
    )
    for tokens in (8, 19):
        compare(path, made, inputs(tokens, width))


@pytest.mark.parametrize(("weight_bits", "activation_bits"), GROUPED_WIDTHS)
@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
@pytest.mark.parametrize("tokens", [1, 3, 4, 7, 13, 16, 23])
def test_a_grid_per_token_and_group(path, weight_bits, activation_bits, symmetric, tokens):
    for size, groups, rotate in (
        (32, 3, True), (16, 3, False), (128, 3, True), (6, 3, False), (1, 3, True), (64, 1, True),
        (33, 1, False),
    ):  # fmt: skip
        made = parameters(
            37, groups * size, weight_bits=weight_bits, activation_bits=activation_bits,
            group_size=size, granularity="per_group_rotated" if rotate else "per_group",
            symmetric=symmetric,
        )  # fmt: skip
        same_bits(path, made, inputs(tokens, groups * size))


@pytest.mark.parametrize("width", [(4, 4), (8, 8)])
def test_grids_per_group_in_several_spans(path, width):
    """Of one group of 1024, cut, and of many."""
    for size, groups in ((1024, 1), (64, 47), (2048, 2)):
        if size * (2 ** width[0] - 1) >= 2**15:
            continue
        made = parameters(
            20, size * groups, weight_bits=width[0], activation_bits=width[1], group_size=size,
            granularity="per_group_rotated",
        )  # fmt: skip
        for tokens in (1, 8, 19):
            same_bits(path, made, inputs(tokens, size * groups))


def test_the_rotation_is_that_of_the_definition_bit_for_bit(path):
    """Inputs whose rotated values lie on the border between two levels."""
    made = parameters(16, 64, group_size=32, granularity="per_group_rotated", bias=False)
    x = (torch.randint(-8, 8, (64, 64), generator=torch.Generator().manual_seed(3)) / 7).float()
    expected, actual = QuantizedLinear(made), QuantizedLinear(made, kernel=path)
    assert torch.equal(actual(x), expected(x))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_visible(path, bad):
    made = parameters(20, 64, group_size=32, granularity="per_group_rotated")
    x = inputs(3, 64)
    x[1, 5] = bad
    expected, y = QuantizedLinear(made)(x), QuantizedLinear(made, kernel=path)(x)
    assert y[1].isnan().all()
    assert expected[1].isnan().all()
    assert_equal_to(expected[[0, 2]], y[[0, 2]])


@pytest.mark.parametrize(("weight_bits", "activation_bits"), WIDTHS[:4] + OTHER_WIDTHS[:6])
@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
def test_accumulators_bit_for_bit(path, weight_bits, activation_bits, symmetric):
    """One group has scale 1 and the others 0, so that an output is one accumulator."""
    size, groups = 48, 3
    made = parameters(
        21, size * groups, weight_bits=weight_bits, activation_bits=activation_bits,
        group_size=size, symmetric=symmetric, bias=False,
    )  # fmt: skip
    x = inputs(19, size * groups)
    for group in range(groups):
        chosen = with_scale(made, torch.eye(groups)[group].expand(21, groups))
        expected = QuantizedLinear(chosen)
        actual = QuantizedLinear(chosen, kernel=path)
        expected.constant = actual.constant = None
        for tokens in (x, x[:7], x[:2]):
            assert torch.equal(actual(tokens), expected(tokens))


@pytest.mark.parametrize(("weight_bits", "activation_bits"), [(8, 8), (7, 8), (6, 6), (4, 8)])
@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
def test_nothing_saturates_at_the_extremes(path, weight_bits, activation_bits, symmetric):
    made = parameters(
        16, 1536, weight_bits=weight_bits, activation_bits=activation_bits, symmetric=symmetric,
        extreme=True, bias=False,
    )  # fmt: skip
    chosen = with_scale(made, torch.ones(16, 1))
    expected, actual = QuantizedLinear(chosen), QuantizedLinear(chosen, kernel=path)
    expected.constant = actual.constant = None
    x = torch.full((19, 1536), 1e9)
    for tokens in (19, 7, 1):
        assert torch.equal(actual(x[:tokens]), expected(x[:tokens]))


@pytest.mark.parametrize(("weight_bits", "activation_bits"), WIDTHS[:4])
@pytest.mark.parametrize("tokens", [3, 8, 19])
def test_sums_that_cancel_agree_to_the_size_of_their_terms(
    path, weight_bits, activation_bits, tokens
):
    made = parameters(
        20, 3008, weight_bits=weight_bits, activation_bits=activation_bits, far_zeros=True
    )
    x = inputs(tokens, 3008)
    definition = QuantizedLinear(made)
    expected, y, constant = (
        definition(x),
        QuantizedLinear(made, kernel=path)(x),
        definition.constant,
    )
    terms = (expected - constant).abs() + constant.abs()
    assert ((y - expected).abs() <= 1e-6 * terms.amax(dim=-1, keepdim=True)).all()


def test_a_zero_level_in_symmetric_weights_from_elsewhere(path):
    for bits in (4, 6, 8):
        made = parameters(16, 64, weight_bits=bits, activation_bits=bits, symmetric=True)
        made.weight.levels.zero_()
        compare(path, made, inputs(7, 64).abs() + 1e3)


def test_halves_round_to_even_and_extremes_clamp(path):
    made = parameters(16, 64, activation_bits=8, granularity="per_tensor")
    assert made.grid is not None
    made.grid.scale.fill_(0.5)
    made.grid.zero_point.fill_(100)
    halves = (torch.arange(64) - 32) * 0.25
    infinities = torch.full((64,), torch.inf)
    x = torch.stack([halves, halves * 100, infinities, -infinities, torch.full((64,), 1e-45)])
    compare(path, made, x)


def test_per_token_grids_of_zeros_and_tiny_values(path):
    for symmetric in (False, True):
        made = parameters(16, 64, granularity="per_token", symmetric=symmetric)
        x = torch.stack([torch.zeros(64), torch.full((64,), 1e-42), torch.linspace(-3, -1, 64)])
        compare(path, made, x)


def test_nan_stays_nan_per_token(path):
    made = parameters(16, 64, granularity="per_token")
    x = inputs(3, 64)
    x[1, 5] = torch.nan
    y = QuantizedLinear(made, kernel=path)(x)
    assert y[1].isnan().all()
    assert y[[0, 2]].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_inputs(path, dtype):
    made = parameters(16, 64, granularity="per_token")
    x = inputs(5, 64).to(dtype)
    expected = QuantizedLinear(made)(x)
    y = QuantizedLinear(made, kernel=path)(x)
    assert y.dtype == dtype
    torch.testing.assert_close(y, expected)


def test_inputs_of_any_rank_and_stride(path):
    made = parameters(16, 64)
    x = inputs(24, 64)
    linear = QuantizedLinear(made, kernel=path)
    y = linear(x)
    assert torch.equal(linear(x.view(2, 3, 4, 64)), y.view(2, 3, 4, 16))
    assert torch.equal(linear(x.t().contiguous().t()), y)
    assert torch.equal(linear(x[0]), linear(x[:1])[0])
    assert linear(x[:0]).shape == (0, 16)


@pytest.mark.parametrize(("weight_bits", "activation_bits"), WIDTHS)
def test_the_same_bits_for_any_batch_and_thread_count(path, weight_bits, activation_bits):
    made = parameters(
        200, 640, weight_bits=weight_bits, activation_bits=activation_bits, group_size=32
    )
    linear = QuantizedLinear(made, kernel=path)
    x = inputs(40, 640)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        y = linear(x)
        torch.set_num_threads(2)
        assert torch.equal(linear(x), y)
    finally:
        torch.set_num_threads(threads)
    for first, last in ((0, 1), (1, 5), (5, 16)):
        assert torch.equal(linear(x[first:last]), y[first:last])


def with_scale(made: LinearParameters, scale: torch.Tensor) -> LinearParameters:
    """The same levels with other scales, [out, groups]."""
    w = made.weight
    weight = QuantizedWeight(
        w.levels, scale.clone(), w.zero_point, w.bits, w.group_size, w.symmetric
    )
    return LinearParameters(weight, made.bias, made.activations, made.grid)
