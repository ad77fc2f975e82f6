"""The kernels as PyTorch operators, so that `torch.compile` and `torch.export` trace a model.

`qvlm::linear` computes what `qvlm.runtime.definition.linear` defines. Its tensors are checked on
every call: a kernel reads raw memory.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from qvlm.errors import KernelError
from qvlm.numerics.hadamard import is_power_of_two
from qvlm.runtime.kernels import native
from qvlm.runtime.kernels.layout import PANEL, packed_shape
from qvlm.runtime.kernels.plan import LinearShape, Plan, plan_of
from qvlm.runtime.operators import register
from qvlm.schemes.layer import FLOAT_BITS, ActivationScheme

_ARITHMETIC = {"bytes": 0, "words": 1, "reals": 2}
_GRID = {"per_channel": 0, "per_tensor": 1, "per_token": 2, "per_group": 4,
         "per_group_rotated": 4}  # fmt: skip
_NO_GRID = 3
FLOATS = (torch.float32, torch.float16, torch.bfloat16)

_SCHEMA = (
    "linear(Tensor x, Tensor levels, Tensor scale, Tensor? zero_point, Tensor? constant, "
    "Tensor? token_sums, Tensor? group_sums, Tensor? input_scale, Tensor? input_zero_point, "
    "int out_features, int group_size, int weight_bits, int activation_bits, str granularity, "
    "bool symmetric_activations, str kernel) -> Tensor"
)


def linear(
    x: Tensor,
    levels: Tensor,
    scale: Tensor,
    zero_point: Tensor | None,
    constant: Tensor | None,
    token_sums: Tensor | None,
    group_sums: Tensor | None,
    input_scale: Tensor | None,
    input_zero_point: Tensor | None,
    out_features: int,
    group_size: int,
    weight_bits: int,
    activation_bits: int,
    granularity: str,
    symmetric_activations: bool,
    kernel: str,
) -> Tensor:
    """Multiplies by prepacked weights.

    Args:
        x: [..., in] float32, float16 or bfloat16.
        levels: packed by `layout.pack_levels`.
        scale: [panels, groups, 16] bfloat16.
        zero_point: [panels, groups, 16] uint8, or None for symmetric weights.
        constant: [out] float32 or None, added to every token.
        token_sums: [out] float32 where activations are per token, else None.
        group_sums: [panels, groups, 16] int16 where activations are per group, else None.
        input_scale, input_zero_point: [in] or [1] float32 where activations are static.
        out_features, group_size, weight_bits: of the weight.
        activation_bits, granularity, symmetric_activations: of the input.
        kernel: name of the path.

    Returns:
        [..., out] in the dtype of x.

    Raises:
        KernelError: a tensor has a wrong type, shape or place, or the kernel does not run here.
    """
    if x.dim() == 0:
        raise KernelError("x is a single number, expected [..., channels]")
    shape = _shape(
        out_features,
        x.shape[-1],
        group_size,
        weight_bits,
        zero_point is None,
        activation_bits,
        granularity,
        symmetric_activations,
    )
    plan = _plan(shape, kernel)
    if x.dtype not in FLOATS:
        raise KernelError(f"x has type {x.dtype}, expected float32, float16 or bfloat16")
    panels, groups = -(-out_features // PANEL), shape.in_features // group_size
    per_group = (panels, groups, PANEL)
    _present("levels", levels, True)
    _present("scale", scale, True)
    _check("levels", levels, tuple(packed_shape(out_features, x.shape[-1], group_size, plan)),
           torch.uint8)  # fmt: skip
    _check("scale", scale, per_group, torch.bfloat16)
    _check("zero_point", zero_point, per_group, torch.uint8)
    _check("constant", constant, (out_features,), torch.float32)
    rounds = activation_bits < FLOAT_BITS
    per_token = rounds and granularity == "per_token"
    _present("token_sums", token_sums, per_token)
    _check("token_sums", token_sums, (out_features,), torch.float32)
    grouped = shape.activations.is_grouped
    _present("group_sums", group_sums, grouped)
    _check("group_sums", group_sums, per_group, torch.int16)
    static = rounds and not per_token and not grouped
    width = (1,) if granularity == "per_tensor" else (shape.in_features,)
    for name, value in (("input_scale", input_scale), ("input_zero_point", input_zero_point)):
        _present(name, value, static)
        _check(name, value, width, torch.float32)
    wide = x.detach().to(torch.float32).contiguous()
    y = torch.empty((*x.shape[:-1], out_features), dtype=torch.float32)
    library = native.library()
    if library is None or kernel not in native.paths():
        raise KernelError(f"kernel {kernel!r} does not run here: available are {native.paths()}")
    library.linear(
        kernel,
        _ARITHMETIC[plan.arithmetic],
        plan.stored_bits,
        plan.run,
        out_features,
        shape.in_features,
        group_size,
        plan.middle,
        levels.data_ptr(),
        levels.numel(),
        scale.data_ptr(),
        _address(zero_point),
        wide.data_ptr(),
        wide.numel() // shape.in_features,
        _GRID[granularity] if rounds else _NO_GRID,
        2**activation_bits - 1 if rounds else 1,
        symmetric_activations,
        shape.activations.is_rotated,
        _address(input_scale),
        _address(input_zero_point),
        _address(constant),
        _address(token_sums),
        _address(group_sums),
        y.data_ptr(),
        torch.get_num_threads(),
    )
    return y.to(x.dtype)


def _fake(
    x: Tensor,
    levels: Tensor,
    scale: Tensor,
    zero_point: Tensor | None,
    constant: Tensor | None,
    token_sums: Tensor | None,
    group_sums: Tensor | None,
    input_scale: Tensor | None,
    input_zero_point: Tensor | None,
    out_features: int,
    *rest: int | str | bool,
) -> Tensor:
    return x.new_empty((*x.shape[:-1], out_features))


register(_SCHEMA, linear, _fake, "CPU")


@lru_cache(maxsize=1024)
def _shape(
    out_features: int,
    in_features: int,
    group_size: int,
    weight_bits: int,
    symmetric: bool,
    activation_bits: int,
    granularity: str,
    symmetric_activations: bool,
) -> LinearShape:
    if out_features < 1 or in_features < 1:
        raise KernelError(f"a linear of {in_features} inputs and {out_features} outputs is empty")
    if group_size < 1 or in_features % group_size:
        raise KernelError(f"groups of {group_size} channels do not divide {in_features} inputs")
    if not 1 <= weight_bits <= 8:
        raise KernelError(f"weights of {weight_bits} bits: use 1 to 8")
    if granularity not in _GRID:
        raise KernelError(f"granularity {granularity!r}: use {', '.join(_GRID)}")
    if not (2 <= activation_bits <= 8 or activation_bits == FLOAT_BITS):
        raise KernelError(f"activations of {activation_bits} bits: use 2 to 8, or {FLOAT_BITS}")
    activations = ActivationScheme(
        bits=activation_bits,
        granularity=granularity,  # type: ignore[arg-type]  # checked above
        symmetric=symmetric_activations,
    )
    if activations.is_rotated and not is_power_of_two(group_size):
        raise KernelError(f"groups of {group_size} channels cannot be rotated: no power of two")
    return LinearShape(out_features, in_features, group_size, weight_bits, symmetric, activations)


@lru_cache(maxsize=1024)
def _plan(shape: LinearShape, kernel: str) -> Plan:
    plan = plan_of(shape, kernel)
    if isinstance(plan, str):
        raise KernelError(plan)
    return plan


def _present(name: str, value: Tensor | None, wanted: bool) -> None:
    if (value is not None) != wanted:
        raise KernelError(f"{name} is {'missing' if wanted else 'given, but nothing reads it'}")


def _check(name: str, value: Tensor | None, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    if value is None:
        return
    if value.shape != shape:
        raise KernelError(f"{name} has shape {tuple(value.shape)}, expected {shape}")
    if value.dtype != dtype:
        raise KernelError(f"{name} has type {value.dtype}, expected {dtype}")
    if not value.is_contiguous() or value.device.type != "cpu":
        raise KernelError(f"{name} must be contiguous and on the CPU, it is on {value.device}")


def _address(value: Tensor | None) -> int:
    return 0 if value is None else value.data_ptr()
