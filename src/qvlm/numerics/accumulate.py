"""The integer accumulators of a quantized product, exactly, in two forms (METHOD 2).

A[g, t, o] = SUM_{c in g} q_tc v_oc - u_og SUM_{c in g} q_tc

`integer_accumulators` computes it with integers; `float_accumulators` with float products
that cannot round. Both feed `combine`, so that their outputs agree bit for bit.

Measured (torch 2.13 CPU, AVX2, 1 thread; tokens = 1600, in = 192, out = 512, groups of 32):
int32 `bmm` on contiguous operands 22 ms, on transposed views 47 ms, float32 15 ms, float64
52 ms, int64 `bmm` 538 ms, the private `torch._int_mm` 180 ms. Hence int32 and contiguous.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qvlm.numerics.weights import QuantizedWeight

_EXACT_IN_FLOAT32 = 2**24
"""Up to here every integer is a float32."""
_LARGEST_INT32 = 2**31 - 1


def integer_accumulators(q: Tensor, weight: QuantizedWeight) -> Tensor:
    """Returns the accumulators by integer arithmetic.

    In int32, or in int64, which is many times slower, where a sum of the given levels could
    overflow: at 8 bits from about 33,000 channels per group.

    Args:
        q: [tokens, in] uint8 activation levels.
        weight: levels [out, in].

    Returns:
        [groups, tokens, out] int32 or int64.
    """
    largest = int(q.max()) * (2**weight.bits - 1) * weight.group_size if q.numel() else 0
    dtype = torch.int32 if largest <= _LARGEST_INT32 else torch.int64
    activations = _groups_first(q, weight.group_size).to(dtype).contiguous()
    levels = _groups_first(weight.levels, weight.group_size).transpose(1, 2)
    products = torch.bmm(activations, levels.to(dtype).contiguous())
    sums = activations.sum(dim=2, keepdim=True, dtype=dtype)
    zero_points = weight.zero_point.t().unsqueeze(1).to(dtype)
    return products.sub_(sums * zero_points)


def float_accumulators(q: Tensor, weight: QuantizedWeight) -> Tensor:
    """Returns the same accumulators by a float product that cannot round.

    float32 where the largest possible sum of the given levels stays below 2^24, else float64.

    Args:
        q: [tokens, in] uint8 activation levels.
        weight: levels [out, in].

    Returns:
        [groups, tokens, out] integer-valued float32 or float64.
    """
    top = 2 ** (weight.bits - 1) if weight.symmetric else 2**weight.bits - 1
    largest = int(q.max()) * top * weight.group_size if q.numel() else 0
    dtype = torch.float32 if largest < _EXACT_IN_FLOAT32 else torch.float64
    activations = _groups_first(q, weight.group_size).to(dtype)
    centred = weight.centred().permute(1, 2, 0).to(dtype)
    return torch.bmm(activations, centred)


def combine(accumulators: Tensor, scale: Tensor) -> Tensor:
    """Returns SUM_g s_og A[g, t, o], [tokens, out] float32.

    One fixed order: groups are added first to last in float64, then rounded once. Each
    product is exact there (8 bits of scale times at most 31 of accumulator), so that the form of
    the accumulators cannot change a bit of the result.

    Args:
        accumulators: [groups, tokens, out] integers, or integer-valued float.
        scale: [out, groups] float32 holding bfloat16 values.
    """
    total = torch.zeros(accumulators.shape[1:], dtype=torch.float64, device=accumulators.device)
    for group, step in zip(accumulators, scale.double().t(), strict=True):
        total.addcmul_(group.double(), step)
    return total.float()


def combine_groups(
    accumulators: Tensor,
    scale: Tensor,
    group_sums: Tensor,
    zero_point: Tensor,
    input_scale: Tensor,
) -> Tensor:
    """Returns SUM_g s_og D_tg (A[g, t, o] - z_tg B_og), [tokens, out] float32.

    Grids of the moment amplify a last bit: one outlier, spread by a rotation, puts values exactly
    between two levels of the next layer. So the float32 operations and their order are part of the
    definition, and the kernels follow them bit for bit; group after group

        total = fma(D, fma(z, -(B s), A s), total)

    Args:
        accumulators: A, [groups, tokens, out] int32, or integer-valued float.
        scale: s, [out, groups] float32 holding bfloat16 values.
        group_sums: B, [out, groups] int16.
        zero_point: z, [tokens, groups, 1], integer-valued float32.
        input_scale: D, [tokens, groups, 1] float32.
    """
    total = torch.zeros(accumulators.shape[1:], device=accumulators.device)
    offsets = -(group_sums.float() * scale)
    for index, group in enumerate(accumulators):
        product = group.float() * scale[:, index]
        centred = _fused(zero_point[:, index], offsets[:, index], product)
        total = _fused(input_scale[:, index], centred, total)
    return total


def _fused(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """a b + c, rounded to float32 once, as the instruction of processors does.

    The product is exact in float64, the sum is not: rounded to the odd neighbour there, it is
    rounded to float32 as the exact sum would be (Boldo and Melquiond 2008).
    """
    product, addend = a.double() * b.double(), c.double()
    total = product + addend
    rest = total - product
    error = (product - (total - rest)) + (addend - rest)
    bits = total.view(torch.int64)
    towards = torch.where((error > 0) == (total > 0), 1, -1)
    inexact = (error != 0) & error.isfinite() & (bits & 1 == 0)
    return torch.where(inexact, bits + towards, bits).view(torch.float64).float()


def _groups_first(rows: Tensor, group_size: int) -> Tensor:
    """[rows, in] -> [groups, rows, group_size], a view."""
    return torch.unflatten(rows, 1, (-1, group_size)).transpose(0, 1)
