"""Cross-layer dependency as a loss: D(k, k+1) of one batch, differentiable (METHOD 3 and 6).

The value is that of `entropy.JointHistogram`. The gradient is analytic, so that neither the
joint distribution nor the spreads of single elements are kept for the backward pass: with
s = d/dx, T the temperature and N elements,

    dD/dP(m, l) = -log(P(m, l) / P(m)) =: G(m, l)
    s p(m | x)  = (2 / T) p(m | x) (m - mean of m under p)
    dD/dx       = (2 / (T N)) Cov_p(m, h(m)),  h(m) = SUM_l G(m, l) p(l | y)

and likewise for the later layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from qvlm.numerics.affine import AffineGrid
from qvlm.numerics.entropy import band_width
from qvlm.numerics.precision import at_least_float32

_CHUNK = 2**13
"""Elements at a time, as in `entropy`."""


def dependency_loss(
    earlier: Tensor,
    later: Tensor,
    earlier_grid: AffineGrid,
    later_grid: AffineGrid,
    temperature: float = 1.0,
) -> Tensor:
    """Returns D(k, k+1) in nats of the elements given, differentiable with respect to both.

    The grids are constants. Values outside of a grid count as its end level, and their gradient
    fades with the distance to it.

    Args:
        earlier: [tokens, channels] input of layer k, padding left out, any float dtype.
        later: [tokens, channels] input of layer k + 1.
        earlier_grid: scale and zero point [channels] or [1].
        later_grid: likewise for `later`, with as many levels.
        temperature: as in `entropy.soft_assignment`.

    Returns:
        Scalar float64.

    Raises:
        ValueError: the shapes or the numbers of levels differ, or there is no element.
    """
    if earlier.shape != later.shape:
        raise ValueError(f"shapes differ: {tuple(earlier.shape)} and {tuple(later.shape)}")
    if earlier_grid.levels != later_grid.levels:
        raise ValueError(f"levels differ: {earlier_grid.levels} and {later_grid.levels}")
    if not earlier.numel():
        raise ValueError("no element was given, so there is no distribution")
    a, b = _level_units(earlier, earlier_grid), _level_units(later, later_grid)
    value: Tensor = _ConditionalEntropy.apply(  # type: ignore[no-untyped-call]
        a, b, earlier_grid.levels, temperature
    )
    return value


class _ConditionalEntropy(torch.autograd.Function):
    """D of two [n] tensors in level units."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, levels: int, temperature: float) -> Tensor:
        ctx.levels, ctx.temperature = levels, temperature
        joint = _joint(a, b, levels, temperature)
        row = joint.sum(dim=1, keepdim=True)
        # Cells that no element reaches are outside of every sum below and in the gradient.
        surprise = torch.where(joint > 0, -torch.log(joint / row), 0.0)
        ctx.save_for_backward(a, b, surprise)
        return (joint * surprise).sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None]:
        a, b, surprise = ctx.saved_tensors
        band = band_width(ctx.levels, ctx.temperature)
        windows = surprise.to(a.dtype).unfold(0, band, 1).unfold(1, band, 1)
        parts_a, parts_b = [], []
        for x, y in _chunks(a, b):
            first_x, p_x = _spread(x, ctx.levels, band, ctx.temperature)
            first_y, p_y = _spread(y, ctx.levels, band, ctx.temperature)
            if band == ctx.levels:
                h_x, h_y = p_y @ windows[0, 0].t(), p_x @ windows[0, 0]
            else:
                local = windows[first_x, first_y]  # [n, band, band]
                h_x = torch.bmm(local, p_y.unsqueeze(-1)).squeeze(-1)
                h_y = torch.bmm(p_x.unsqueeze(1), local).squeeze(1)
            parts_a.append(_covariance(p_x, h_x))
            parts_b.append(_covariance(p_y, h_y))
        factor = gradients[0].to(a.dtype) * 2.0 / (ctx.temperature * len(a))
        return torch.cat(parts_a) * factor, torch.cat(parts_b) * factor, None, None


def _joint(a: Tensor, b: Tensor, levels: int, temperature: float) -> Tensor:
    """P(m, l), [M, M] float64."""
    band = band_width(levels, temperature)
    places = levels - band + 1
    cells = a.new_zeros(places**2, band**2, dtype=torch.float64)
    for x, y in _chunks(a, b):
        first_x, p_x = _spread(x, levels, band, temperature)
        first_y, p_y = _spread(y, levels, band, temperature)
        if places == 1:
            cells += (p_x.double().t() @ p_y.double()).view(1, -1)
        else:
            products = (p_x.unsqueeze(-1) * p_y.unsqueeze(1)).flatten(1).double()
            cells.index_add_(0, first_x * places + first_y, products)
    if places == 1:
        return cells.view(levels, levels) / len(a)
    cells = cells.view(places, places, band, band)
    sums = cells.new_zeros(levels, levels)
    for i in range(band):
        for j in range(band):
            sums[i : i + places, j : j + places] += cells[:, :, i, j]
    return sums / len(a)


def _spread(x: Tensor, levels: int, band: int, temperature: float) -> tuple[Tensor, Tensor]:
    """First level [n] and p(m | x) of the `band` levels from it on, [n, band]."""
    first = (torch.round(x) - band // 2).clamp(0, levels - band)
    m = first.unsqueeze(-1) + torch.arange(band, dtype=x.dtype, device=x.device)
    return first.long(), torch.softmax(-(x.unsqueeze(-1) - m).square() / temperature, dim=-1)


def _covariance(p: Tensor, h: Tensor) -> Tensor:
    """Cov(m, h(m)) under p, [n], for m = 0 .. band - 1 (an offset of m changes nothing)."""
    m = torch.arange(p.shape[1], dtype=p.dtype, device=p.device)
    weighted = p * h
    return weighted @ m - (p @ m) * weighted.sum(dim=1)


def _chunks(a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(torch.split(a, _CHUNK), torch.split(b, _CHUNK), strict=True)


def _level_units(x: Tensor, grid: AffineGrid) -> Tensor:
    return (at_least_float32(x) / grid.scale + grid.zero_point).flatten()
