"""The definition of the integer runtime in plain PyTorch: oracle of the kernels, and fallback."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from qvlm.numerics.accumulate import (
    combine,
    combine_groups,
    float_accumulators,
    integer_accumulators,
)
from qvlm.numerics.affine import AffineGrid, per_token_grid, quantize
from qvlm.numerics.hadamard import hadamard
from qvlm.numerics.packing import unpack_bits
from qvlm.numerics.weights import QuantizedWeight
from qvlm.runtime.operators import register
from qvlm.schemes.layer import FLOAT_BITS

Arithmetic = Literal["integer", "simulated"]
"""`integer`: integer products. `simulated`: the same accumulators from float products."""

_SCHEMA = (
    "definition(Tensor x, Tensor packed, Tensor scale, Tensor zero_point, Tensor? constant, "
    "Tensor? token_sums, Tensor? group_sums, Tensor? input_scale, Tensor? input_zero_point, "
    "int group_size, int weight_bits, bool symmetric, int activation_bits, "
    "bool symmetric_activations, bool rotate, str arithmetic) -> Tensor"
)


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
    arithmetic: str,
) -> Tensor:
    """Multiplies by packed weights (METHOD: one integer semantics).

    y_o = SUM_g s_og A_og + constant_o with the integer accumulators
    A_og = SUM_c q_c v_oc - u_og SUM_c q_c. Both arithmetics give the same bits, because the
    accumulators are exact in either and the float epilogue is the same code. Where activations
    have a grid per token and group, y_o = SUM_g s_og D_g (A_og - z_g B_og) + constant_o with
    B_og = SUM_c (v_oc - u_og).

    Args:
        x: [..., in], any float dtype.
        packed: [out, ceil(in * bits / 8)] uint8, unpacked for each call.
        scale: [out, groups] bfloat16.
        zero_point: [out, groups] uint8.
        constant: [out] float32 or None.
        token_sums: [out] float32 where activations are per token, else None.
        group_sums: [out, groups] int16, B, where activations are per group, else None.
        input_scale, input_zero_point: [in] or [1] float32 where they are static, else None.
        group_size, weight_bits, symmetric: of the weight.
        activation_bits, symmetric_activations: of the input.
        rotate: transform each group of the input (`numerics.hadamard`).
        arithmetic: see `Arithmetic`.

    Returns:
        [..., out] in the dtype of x.
    """
    tokens = x.reshape(-1, x.shape[-1]).float()
    weight = QuantizedWeight(
        levels=unpack_bits(packed, weight_bits, x.shape[-1]),
        scale=scale.float(),
        zero_point=zero_point,
        bits=weight_bits,
        group_size=group_size,
        symmetric=symmetric,
    )
    if activation_bits == FLOAT_BITS:
        y = F.linear(tokens, weight.dequantized())
    elif group_sums is not None:
        rotated = hadamard(tokens, group_size) if rotate else tokens
        parts = torch.unflatten(rotated, 1, (-1, group_size))
        grid = per_token_grid(parts, activation_bits, symmetric_activations)
        levels = quantize(parts, grid).flatten(1).to(torch.uint8)
        accumulate = integer_accumulators if arithmetic == "integer" else float_accumulators
        sums = accumulate(levels, weight)
        y = combine_groups(sums, weight.scale, group_sums, grid.zero_point, grid.scale)
    else:
        if input_scale is None or input_zero_point is None:
            grid = per_token_grid(tokens, activation_bits, symmetric_activations)
        else:
            grid = AffineGrid(input_scale, input_zero_point, 2**activation_bits)
        levels = quantize(tokens, grid).to(torch.uint8)
        # PyTorch has no integer products on a GPU; those of floats are exact too.
        as_integers = arithmetic == "integer" and x.device.type == "cpu"
        accumulate = integer_accumulators if as_integers else float_accumulators
        y = combine(accumulate(levels, weight), weight.scale)
        if token_sums is not None:
            y = (y - grid.zero_point * token_sums) * grid.scale
    if constant is not None:
        y = y + constant
    return y.reshape(*x.shape[:-1], scale.shape[0]).to(x.dtype)


def _fake(x: Tensor, packed: Tensor, *rest: Tensor | int | str | bool | None) -> Tensor:
    return x.new_empty((*x.shape[:-1], packed.shape[0]))


register(_SCHEMA, linear, _fake, "CompositeExplicitAutograd")
