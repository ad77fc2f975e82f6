"""Wrong arguments to the operator: an error that says which, never a crash."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qvlm.errors import KernelError, QvlmError
from qvlm.runtime import QuantizedLinear
from qvlm.runtime.kernels import ops
from tiny.linears import PATHS, inputs, parameters

NAMES = ("x", "levels", "scale", "zero_point", "constant", "token_sums", "group_sums",
         "input_scale", "input_zero_point", "out_features", "group_size", "weight_bits",
         "activation_bits", "granularity", "symmetric_activations", "kernel")  # fmt: skip
TENSORS = NAMES[:9]
GRANULARITY = {"token_sums": "per_token", "group_sums": "per_group"}


def arguments(granularity: str = "per_channel") -> dict:
    """Right arguments, by name."""
    made = parameters(20, 64, group_size=32, granularity=granularity)
    linear = QuantizedLinear(made, kernel=PATHS[-1])
    values = (inputs(3, 64), linear.packed, linear.scale, linear.zero_point, linear.constant,
              linear.token_sums, linear.group_sums, linear.input_scale, linear.input_zero_point, 20,
              32, 4, 4, granularity, False, PATHS[-1])  # fmt: skip
    return dict(zip(NAMES, values, strict=True))


def call(values: dict) -> torch.Tensor:
    return torch.ops.qvlm.linear(*(values[name] for name in NAMES))


def test_the_right_arguments_are_right():
    for granularity in ("per_channel", "per_tensor", "per_token", "per_group", "per_group_rotated"):
        assert call(arguments(granularity)).shape == (3, 20)


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_of_another_type_is_named(name):
    values = arguments(GRANULARITY.get(name, "per_channel"))
    values[name] = values[name].to(torch.int64)
    with pytest.raises(KernelError, match=rf"^{name} has type torch.int64"):
        call(values)


@pytest.mark.parametrize("name", TENSORS[1:])
def test_a_tensor_of_another_shape_is_named(name):
    values = arguments(GRANULARITY.get(name, "per_channel"))
    values[name] = values[name][:-1]
    with pytest.raises(KernelError, match=rf"^{name} has shape"):
        call(values)


@pytest.mark.parametrize("name", ["levels", "scale", "zero_point"])
def test_a_strided_tensor_is_named(name):
    values = arguments()
    values[name] = values[name].transpose(0, 1).contiguous().transpose(0, 1)
    with pytest.raises(KernelError, match=rf"^{name} must be contiguous"):
        call(values)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("out_features", 0, "is empty"),
        ("group_size", 5, "do not divide"),
        ("group_size", 0, "do not divide"),
        ("weight_bits", 9, "9 bits"),
        ("weight_bits", 8, "levels has shape"),
        ("activation_bits", 1, "1 bits"),
        ("activation_bits", 16, "input_scale is given"),
        ("granularity", "per_row", "granularity 'per_row'"),
        ("granularity", "per_token", "token_sums is missing"),
        ("granularity", "per_group", "group_sums is missing"),
        ("granularity", "per_group_rotated", "group_sums is missing"),
        ("kernel", "avx9", "kernel 'avx9' does not run here"),
        ("input_scale", None, "input_scale is missing"),
    ],
)
def test_a_wrong_setting_is_named(name, value, message):
    with pytest.raises(KernelError, match=message):
        call({**arguments(), name: value})


dtypes = st.sampled_from([torch.float32, torch.bfloat16, torch.uint8, torch.int32, torch.float64])
shapes = st.lists(st.integers(0, 70), max_size=3)
anything = st.one_of(
    st.none(), st.builds(lambda size, dtype: torch.ones(size, dtype=dtype), shapes, dtypes)
)
numbers = st.integers(-(2**40), 2**40) | st.integers(-2, 70)
wrong = st.one_of(
    st.tuples(st.sampled_from(TENSORS[1:]), anything),
    st.tuples(st.just("x"), anything.filter(lambda value: value is not None)),
    st.tuples(st.sampled_from(NAMES[9:13]), numbers),
    st.tuples(st.just("granularity"), st.text(max_size=4) | st.sampled_from(sorted(ops._GRID))),
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(wrong, min_size=1, max_size=3),
    st.sampled_from(["per_channel", "per_token", "per_group_rotated"]),
)
def test_no_arguments_crash(changes, granularity):
    values = {**arguments(granularity), **dict(changes)}
    try:
        y = call(values)
    except QvlmError as error:
        assert "\n" not in str(error)
    else:
        assert y.shape == (*values["x"].shape[:-1], values["out_features"])


@settings(max_examples=60, deadline=None)
@given(shapes, dtypes)
def test_a_layer_names_itself_when_its_input_is_wrong(size, dtype):
    linear = QuantizedLinear(parameters(20, 64), kernel=PATHS[0], name="mlp.up")
    x = torch.ones(size, dtype=dtype)
    if x.dim() and x.shape[-1] == 64 and dtype in ops.FLOATS:
        assert linear(x).shape == (*size[:-1], 20)
    else:
        with pytest.raises(KernelError, match=r"layer 'mlp.up' got"):
            linear(x)
