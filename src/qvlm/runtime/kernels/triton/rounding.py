"""Rounds activations to levels, as `qvlm.numerics.affine` does.

Levels are stored as signed bytes, which tensor cores multiply: q, or q - 128 of 8 bits.
"""

# Annotations stay values here: Triton reads them.
import triton
import triton.language as tl

CHUNK = 1024
_FARTHEST = tl.constexpr(2.0**20)
"""Beyond every level: values are clamped to it before they are rounded."""
_ROUNDER = tl.constexpr(1.5 * 2.0**23)
"""Adding and subtracting it rounds a float32 below 2^22 to an integer, halves to even."""
_SMALLEST = tl.constexpr(2.0**-126)
"""The smallest normal float32: `qvlm.numerics.affine` takes 1 for a smaller scale."""


@triton.jit
def _rounded(x):
    """x, any size, to the nearest integer within +-2^20; NaN stays NaN."""
    near = tl.where(x > _FARTHEST, _FARTHEST, tl.where(x < -_FARTHEST, -_FARTHEST, x))
    return (near + _ROUNDER) - _ROUNDER


@triton.jit
def _usable(scale):
    return tl.where(scale < _SMALLEST, 1.0, scale)


@triton.jit
def _clamped(q, TOP: tl.constexpr):
    """q within 0 .. TOP; NaN stays NaN."""
    return tl.where(q > TOP, float(TOP), tl.where(q < 0.0, 0.0, q))


@triton.jit
def _token_grid(x_row, channels, TOP: tl.constexpr, SYMMETRIC: tl.constexpr, BLOCK: tl.constexpr):
    """Scale and zero point of one token; a NaN among its values makes the scale NaN."""
    low, high, broken = 0.0, 0.0, 0
    for start in range(0, channels, BLOCK):
        at = start + tl.arange(0, BLOCK)
        x = tl.load(x_row + at, mask=at < channels, other=0.0).to(tl.float32)
        low = tl.minimum(low, tl.min(tl.where(x == x, x, 0.0), axis=0))
        high = tl.maximum(high, tl.max(tl.where(x == x, x, 0.0), axis=0))
        broken = tl.maximum(broken, tl.max((x != x).to(tl.int32), axis=0))
    if SYMMETRIC:
        half: tl.constexpr = (TOP + 1) // 2
        scale = _usable(tl.div_rn(tl.maximum(-low, high), float(half - 1)))
        zero = low * 0.0 + half
    else:
        scale = _usable(tl.div_rn(high - low, float(TOP)))
        zero = _clamped(_rounded(tl.div_rn(-low, scale)), TOP)
    return tl.where(broken > 0, float("nan"), scale), zero


@triton.jit
def round_tokens(
    x,
    scale,
    zero_point,
    levels,
    token_scale,
    token_zero,
    channels,
    TOP: tl.constexpr,
    SHIFT: tl.constexpr,
    PER_TOKEN: tl.constexpr,
    PER_TENSOR: tl.constexpr,
    SYMMETRIC: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """One token per program: x [tokens, channels] -> levels [tokens, channels] int8.

    A static grid is read from scale and zero_point, [channels] or [1]; one per token is found and
    written to token_scale and token_zero, [tokens].
    """
    token = tl.program_id(0).to(tl.int64)
    x_row = x + token * channels
    if PER_TOKEN:
        step, zero = _token_grid(x_row, channels, TOP, SYMMETRIC, BLOCK)
        tl.store(token_scale + token, step)
        tl.store(token_zero + token, zero)
    elif PER_TENSOR:
        step = tl.load(scale)
        zero = tl.load(zero_point)
    for start in range(0, channels, BLOCK):
        at = start + tl.arange(0, BLOCK)
        inside = at < channels
        value = tl.load(x_row + at, mask=inside, other=0.0).to(tl.float32)
        if PER_TOKEN or PER_TENSOR:
            q = _rounded(tl.div_rn(value, tl.zeros([BLOCK], tl.float32) + step)) + zero
        else:
            steps = tl.load(scale + at, mask=inside, other=1.0)
            q = _rounded(tl.div_rn(value, steps))
            q += tl.load(zero_point + at, mask=inside, other=0.0)
        q = tl.where(q == q, _clamped(q, TOP), 0.0)
        tl.store(levels + token * channels + at, (q - SHIFT).to(tl.int8), mask=inside)
