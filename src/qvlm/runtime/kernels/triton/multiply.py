"""Multiplies levels by packed weights: the accumulators of `qvlm.numerics.accumulate`, exactly.

Weights are read as the definition packs them, a dense bit stream per output, and unpacked in
registers. A weight enters the product as v - u where that fits a signed byte, else (8 bits,
asymmetric) as v - 128, with the rest added from the sum of the activations.
"""

import triton
import triton.language as tl


@triton.jit
def _unpacked(row, start, inside, width, BITS: tl.constexpr, BLOCK: tl.constexpr):
    """Levels start .. start + BLOCK of packed rows: row [outputs, 1] -> [outputs, BLOCK] int32.

    inside [outputs, BLOCK] are the levels that there are; width is the bytes of a row.
    """
    bit = (start + tl.arange(0, BLOCK)) * BITS
    byte = bit // 8
    word = tl.load(row + byte[None, :], mask=inside, other=0).to(tl.int32)
    if 8 % BITS != 0:
        # Levels of 3, 5, 6 and 7 bits cross from one byte into the next.
        follows = inside & (byte[None, :] + 1 < width)
        following = tl.load(row + byte[None, :] + 1, mask=follows, other=0)
        word = word | (following.to(tl.int32) << 8)
    return (word >> (bit % 8)[None, :]) & (2**BITS - 1)


@triton.jit
def _fused(a, b, c):
    """a b + c rounded to float32 once, as `qvlm.numerics.accumulate.combine_groups` does."""
    product = a.to(tl.float64) * b.to(tl.float64)
    addend = c.to(tl.float64)
    total = product + addend
    rest = total - product
    error = (product - (total - rest)) + (addend - rest)
    bits = total.to(tl.int64, bitcast=True)
    towards = tl.where((error > 0) == (total > 0), 1, -1)
    inexact = (error != 0) & (tl.abs(error) < float("inf")) & ((bits & 1) == 0)
    return tl.where(inexact, bits + towards, bits).to(tl.float64, bitcast=True).to(tl.float32)


@triton.jit
def multiply(
    levels,
    packed,
    scale,
    zero_point,
    constant,
    token_sums,
    group_sums,
    token_scale,
    token_zero,
    y,
    tokens,
    outputs,
    channels,
    group_size,
    width,
    BITS: tl.constexpr,
    CENTRED: tl.constexpr,
    SHIFT: tl.constexpr,
    PER_TOKEN: tl.constexpr,
    PER_GROUP: tl.constexpr,
    HAS_CONSTANT: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """A tile of y [tokens, outputs] = SUM_g s_og A_og, then zero points, scale and constant.

    Groups are added first to last in float64 and rounded once, as in `combine`, or as in
    `combine_groups`; token_scale and token_zero are then [tokens, groups], else [tokens].
    """
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    m_in, n_in = m < tokens, n < outputs
    groups = channels // group_size
    q_row = levels + m.to(tl.int64)[:, None] * channels
    w_row = packed + n.to(tl.int64)[:, None] * width
    total = tl.zeros([BLOCK_M, BLOCK_N], tl.float64)
    for group in range(groups):
        product = tl.zeros([BLOCK_M, BLOCK_N], tl.int32)
        q_sum = tl.zeros([BLOCK_M], tl.int32)
        w_sum = tl.zeros([BLOCK_N], tl.int32)
        zero = tl.load(zero_point + n * groups + group, mask=n_in, other=0).to(tl.int32)
        for start in range(0, group_size, BLOCK_K):
            offset = start + tl.arange(0, BLOCK_K)
            k_in = offset < group_size
            k = group * group_size + offset
            q = tl.load(q_row + k[None, :], mask=m_in[:, None] & k_in[None, :], other=0)
            inside = n_in[:, None] & k_in[None, :]
            v = _unpacked(w_row, group * group_size + start, inside, width, BITS, BLOCK_K)
            centre = zero[:, None] if CENTRED else 128
            w = tl.where(inside, v - centre, 0)
            product = tl.dot(q, tl.trans(w.to(tl.int8)), product, out_dtype=tl.int32)
            if SHIFT:
                w_sum += tl.sum(w, axis=1)
            if not CENTRED:
                q_sum += tl.sum(q.to(tl.int32), axis=1)
        if SHIFT:
            product += SHIFT * w_sum[None, :]
        if not CENTRED:
            product += (q_sum + SHIFT * group_size)[:, None] * (128 - zero)[None, :]
        step = tl.load(scale + n * groups + group, mask=n_in, other=0.0).to(tl.float64)
        if PER_GROUP:
            grid = m * groups + group
            moved = tl.load(token_zero + grid, mask=m_in, other=0.0)[:, None]
            size = tl.load(token_scale + grid, mask=m_in, other=0.0)[:, None]
            sums = tl.load(group_sums + n * groups + group, mask=n_in, other=0).to(tl.float32)
            offset = -(sums * step.to(tl.float32))[None, :]
            scaled = product.to(tl.float32) * step.to(tl.float32)[None, :]
            centred = _fused(moved, offset, scaled)
            total = _fused(size, centred, total.to(tl.float32)).to(tl.float64)
        else:
            total += product.to(tl.float64) * step[None, :]
    result = total.to(tl.float32)
    if PER_TOKEN:
        moved = tl.load(token_zero + m, mask=m_in, other=0.0)[:, None]
        sums = tl.load(token_sums + n, mask=n_in, other=0.0)[None, :]
        result = (result - moved * sums) * tl.load(token_scale + m, mask=m_in, other=0.0)[:, None]
    if HAS_CONSTANT:
        result += tl.load(constant + n, mask=n_in, other=0.0)[None, :]
    at = m.to(tl.int64)[:, None] * outputs + n[None, :]
    tl.store(y + at, result, mask=m_in[:, None] & n_in[None, :])


@triton.jit
def multiply_floats(
    x,
    packed,
    scale,
    zero_point,
    constant,
    y,
    tokens,
    outputs,
    channels,
    group_size,
    width,
    BITS: tl.constexpr,
    HAS_CONSTANT: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """A tile of y [tokens, outputs] = x (s (v - u))^T + constant, in float32."""
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    m_in, n_in = m < tokens, n < outputs
    groups = channels // group_size
    x_row = x + m.to(tl.int64)[:, None] * channels
    w_row = packed + n.to(tl.int64)[:, None] * width
    total = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for group in range(groups):
        zero = tl.load(zero_point + n * groups + group, mask=n_in, other=0).to(tl.int32)
        step = tl.load(scale + n * groups + group, mask=n_in, other=0.0).to(tl.float32)
        for start in range(0, group_size, BLOCK_K):
            offset = start + tl.arange(0, BLOCK_K)
            k_in = offset < group_size
            k = group * group_size + offset
            a = tl.load(x_row + k[None, :], mask=m_in[:, None] & k_in[None, :], other=0.0)
            inside = n_in[:, None] & k_in[None, :]
            v = _unpacked(w_row, group * group_size + start, inside, width, BITS, BLOCK_K)
            w = tl.where(inside, (v - zero[:, None]).to(tl.float32) * step[:, None], 0.0)
            total = tl.dot(a.to(tl.float32), tl.trans(w), total, input_precision="ieee")
    if HAS_CONSTANT:
        total += tl.load(constant + n, mask=n_in, other=0.0)[None, :]
    at = m.to(tl.int64)[:, None] * outputs + n[None, :]
    tl.store(y + at, total, mask=m_in[:, None] & n_in[None, :])
