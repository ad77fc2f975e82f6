"""`qvlm::triton`: the operator behind which the Triton kernels are."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from qvlm.errors import KernelError
from qvlm.numerics.hadamard import hadamard
from qvlm.runtime.kernels.triton.multiply import multiply, multiply_floats
from qvlm.runtime.kernels.triton.rounding import CHUNK, round_tokens
from qvlm.runtime.operators import register
from qvlm.schemes.layer import FLOAT_BITS

_SCHEMA = (
    "triton(Tensor x, Tensor packed, Tensor scale, Tensor zero_point, Tensor? constant, "
    "Tensor? token_sums, Tensor? group_sums, Tensor? input_scale, Tensor? input_zero_point, "
    "int group_size, int weight_bits, bool symmetric, int activation_bits, "
    "bool symmetric_activations, bool rotate) -> Tensor"
)
_TILE = {"BLOCK_M": 32, "BLOCK_N": 64}
_SHORTEST, _LONGEST = 32, 128
"""Channels that a step multiplies: tensor cores take 32 bytes at least."""


def linear(
    x: Tensor,
    packed: Tensor,
    scale: Tensor,
    zero_point: Tensor,
    constant: Tensor | None,
    token_sums: Tensor | None,
    group_sums: Tensor | None,
    input_scale: Tensor | None,
    input_zero_point: Tensor | None,
    group_size: int,
    weight_bits: int,
    symmetric: bool,
    activation_bits: int,
    symmetric_activations: bool,
    rotate: bool,
) -> Tensor:
    """Computes what `qvlm.runtime.definition.linear` defines, from the same tensors.

    Raises:
        KernelError: x is not on a GPU, or a tensor does not fit it.
    """
    outputs, channels = scale.shape[0], x.shape[-1]
    _check(x, packed, scale, zero_point, outputs, channels // group_size)
    tokens = x.reshape(-1, channels).contiguous()
    y = torch.empty((len(tokens), outputs), dtype=torch.float32, device=x.device)
    shape = (len(tokens), outputs, channels, group_size, packed.shape[1])
    sizes = {**_TILE, "BLOCK_K": _step(group_size), "BITS": weight_bits}
    tiles = (-(-len(tokens) // sizes["BLOCK_M"]), -(-outputs // sizes["BLOCK_N"]))
    weight = (packed, scale, zero_point, constant)
    # Fused multiply-adds would round once where the definition rounds twice.
    exactly = {"HAS_CONSTANT": constant is not None, "enable_fp_fusion": False}
    if len(tokens) == 0:
        return y.reshape(*x.shape[:-1], outputs).to(x.dtype)
    if activation_bits == FLOAT_BITS:
        multiply_floats[tiles](tokens, *weight, y, *shape, **sizes, **exactly)
        return y.reshape(*x.shape[:-1], outputs).to(x.dtype)
    per_token = input_scale is None
    shift = 128 if activation_bits == 8 else 0
    levels = torch.empty(tokens.shape, dtype=torch.int8, device=x.device)
    rows = hadamard(tokens.float(), group_size) if rotate else tokens
    if group_sums is not None:  # a group has a grid as a token has
        rows = rows.reshape(-1, group_size)
    grid = [torch.empty(len(rows), device=x.device) for _ in range(2)] if per_token else [y, y]
    round_tokens[(len(rows),)](
        rows, input_scale, input_zero_point, levels, *grid, rows.shape[1],
        TOP=2**activation_bits - 1, SHIFT=shift, PER_TOKEN=per_token,
        PER_TENSOR=input_scale is not None and input_scale.numel() == 1 != channels,
        SYMMETRIC=symmetric_activations, BLOCK=CHUNK, enable_fp_fusion=False,
    )  # fmt: skip
    multiply[tiles](
        levels, *weight, token_sums, group_sums, *grid, y, *shape, **sizes, **exactly, SHIFT=shift,
        CENTRED=weight_bits < 8 or symmetric, PER_TOKEN=token_sums is not None,
        PER_GROUP=group_sums is not None,
    )  # fmt: skip
    return y.reshape(*x.shape[:-1], outputs).to(x.dtype)


def _step(group_size: int) -> int:
    """Channels per step: a power of two that covers the group, within what a kernel takes."""
    return min(max(1 << (group_size - 1).bit_length(), _SHORTEST), _LONGEST)


def _check(
    x: Tensor, packed: Tensor, scale: Tensor, zero_point: Tensor, outputs: int, groups: int
) -> None:
    if x.device.type != "cuda" and not triton.knobs.runtime.interpret:
        raise KernelError(f"x is on {x.device}: Triton's kernels need it on an NVIDIA GPU")
    for name, value in (("packed", packed), ("scale", scale), ("zero_point", zero_point)):
        if value.device != x.device or not value.is_contiguous():
            raise KernelError(
                f"{name} must be contiguous and on {x.device}, it is on {value.device}"
            )
    shapes = {"packed": len(packed) == outputs, "scale": scale.shape == (outputs, groups),
              "zero_point": zero_point.shape == (outputs, groups)}  # fmt: skip
    for name, fits in shapes.items():
        if not fits:
            raise KernelError(f"{name} does not fit {outputs} outputs of {groups} groups")


def _fake(x: Tensor, packed: Tensor, *rest: Tensor | int | bool | None) -> Tensor:
    return x.new_empty((*x.shape[:-1], packed.shape[0]))


register(_SCHEMA, linear, _fake, "CompositeExplicitAutograd")
