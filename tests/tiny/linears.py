"""Random quantized linears of any shape and width, for the tests of the kernels."""

from __future__ import annotations

import torch

from qvlm.numerics.affine import AffineGrid
from qvlm.numerics.weights import QuantizedWeight
from qvlm.runtime import LinearParameters
from qvlm.runtime.kernels import native
from qvlm.schemes import ActivationScheme

PATHS = native.paths()
"""Kernel paths that can be tested here."""


def parameters(
    out_features: int,
    in_features: int,
    *,
    weight_bits: int = 4,
    activation_bits: int = 4,
    group_size: int | None = None,
    granularity: str = "per_channel",
    symmetric: bool = False,
    bias: bool = True,
    extreme: bool = False,
    far_zeros: bool = False,
    seed: int = 0,
) -> LinearParameters:
    """Random levels and scales; `extreme` takes the highest level everywhere, zero points 0.

    Zero points of weights lie near the middle of the levels, or anywhere with `far_zeros`.
    """
    random = torch.Generator().manual_seed(seed)

    def integers(low: int, high: int, *shape: int) -> torch.Tensor:
        return torch.randint(low, high, shape, generator=random, dtype=torch.uint8)

    size = group_size or in_features
    groups = in_features // size
    top = 2**weight_bits
    levels = integers(int(symmetric), top, out_features, in_features)
    # Near the middle, as in real weights: else sums cancel against the constant, and what is
    # compared is how the definition itself rounds.
    zeros = integers(max(top // 2 - 2, 0), min(top // 2 + 2, top), out_features, groups)
    if far_zeros:
        zeros = integers(0, top, out_features, groups)
    if extreme:
        levels.fill_(top - 1)
        zeros.zero_()
    if symmetric:
        zeros.fill_(top // 2)
    scale = (torch.rand(out_features, groups, generator=random) + 0.5).bfloat16().float()
    weight = QuantizedWeight(levels, scale, zeros, weight_bits, size, symmetric)
    activations = ActivationScheme(
        bits=activation_bits, granularity=granularity, symmetric=symmetric
    )
    grid = None
    if activations.is_static:
        width = 1 if granularity == "per_tensor" else in_features
        step = torch.rand(width, generator=random) * 0.2 + 0.01
        zero_point = integers(0, 2**activation_bits, width).float()
        grid = AffineGrid(step, zero_point, 2**activation_bits)
    offset = torch.randn(out_features, generator=random) if bias else None
    return LinearParameters(weight, offset, activations, grid)


def inputs(tokens: int, in_features: int, seed: int = 1) -> torch.Tensor:
    """[tokens, in] with a wide spread of magnitudes over the channels."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(tokens, in_features, generator=random) * torch.logspace(-2, 1, in_features)


def assert_equal_to(expected: torch.Tensor, y: torch.Tensor) -> None:
    """Within 1e-5 of the largest output of each token."""
    span = expected.abs().amax(dim=-1, keepdim=True).clamp(min=1e-30)
    assert y.shape == expected.shape
    assert y.dtype == expected.dtype
    assert ((y - expected).abs() <= 1e-5 * span).all()
