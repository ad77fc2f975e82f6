"""Cross-layer dependency: the entropy of a layer's input given the layer before (METHOD 3).

Every value is spread softly over the M levels of its grid; the joint distribution of two
layers is the mean over elements of the products of their spreads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from qvlm.numerics.affine import AffineGrid

_DENSE_LEVELS = 16
"""Up to here all M levels of an element are computed, above only those near its value."""

_DISCARDED_MASS = 1e-9
"""Most probability that the levels left out of a band may hold together."""

_CHUNK = 2**12
"""Elements at a time: what they need stays in the cache, and each block of it below a megabyte, or
a run of little memory would have the system clear new pages (`machine.keep_no_freed_memory`)."""

_PIECE = 2**10
"""Elements that one product of matrices adds up."""


def soft_assignment(x: Tensor, levels: int, temperature: float = 1.0) -> Tensor:
    """Returns p(m | x) = softmax over m of -(x - m)^2 / temperature.

    Args:
        x: [n], in level units with the offset added: x / D_c + z_c.
        levels: M; m = 0 .. M-1.
        temperature: in squared level spacings; towards 0 the nearest level takes all.

    Returns:
        [n, M], rows sum to 1.
    """
    m = torch.arange(levels, dtype=x.dtype, device=x.device)
    return torch.softmax(-(x.unsqueeze(-1) - m).square() / temperature, dim=-1)


class JointHistogram:
    """Joint distribution P(m, l) of the levels of two layers' inputs, batch by batch.

    Memory is the M x M sums in float64, whatever the number of batches.
    """

    def __init__(self, levels: int, temperature: float = 1.0) -> None:
        """Starts an empty histogram.

        Args:
            levels: M, the same for both layers.
            temperature: as in `soft_assignment`.
        """
        self._levels = levels
        self._temperature = temperature
        self._reach = _reach(temperature)
        self._banded = band_width(levels, temperature) < levels
        self._sums = torch.zeros(levels, levels, dtype=torch.float64)

    def update(
        self, earlier: Tensor, later: Tensor, earlier_grid: AffineGrid, later_grid: AffineGrid
    ) -> None:
        """Adds the elements of one batch, paired by position.

        Args:
            earlier: [tokens, channels] input of layer k.
            later: [tokens, channels] input of layer k + 1.
            earlier_grid: its grid, scale [channels] or [1].
            later_grid: likewise for `later`.

        Raises:
            ValueError: the shapes differ, or a grid has another number of levels.
        """
        if earlier.shape != later.shape:
            raise ValueError(f"shapes differ: {tuple(earlier.shape)} and {tuple(later.shape)}")
        if {earlier_grid.levels, later_grid.levels} != {self._levels}:
            raise ValueError(f"both grids need {self._levels} levels")
        a, b = _level_units(earlier, earlier_grid), _level_units(later, later_grid)
        self._sums = self._sums.to(a.device)
        add = self._add_banded if self._banded else self._add_dense
        add(a, b)

    @property
    def sums(self) -> Tensor:
        """What was added so far, [M, M] float64."""
        return self._sums

    def merge(self, sums: Tensor) -> None:
        """Adds the `sums` of another histogram of the same levels."""
        self._sums = self._sums.to(sums.device) + sums

    def joint(self) -> Tensor:
        """Returns P(m, l), [M, M] float64, summing to 1.

        Raises:
            ValueError: nothing was added.
        """
        total = self._sums.sum()
        if not total > 0:
            raise ValueError("no element was added, so there is no distribution")
        return self._sums / total

    def conditional_entropy(self) -> float:
        """Returns D(k, k+1) = -SUM_ml P(m, l) log(P(m, l) / P(m)) in nats, 0 .. log M.

        Raises:
            ValueError: nothing was added.
        """
        joint = self.joint()
        return max(0.0, _entropy(joint) - _entropy(joint.sum(dim=1)))

    def marginal_entropy(self) -> float:
        """Returns -SUM_m P(m) log P(m) of the earlier layer, in nats.

        Raises:
            ValueError: nothing was added.
        """
        return _entropy(self.joint().sum(dim=1))

    def _add_dense(self, a: Tensor, b: Tensor) -> None:
        for x, y in zip(torch.split(a, _CHUNK), torch.split(b, _CHUNK), strict=True):
            spread_x = soft_assignment(x, self._levels, self._temperature).double()
            spread_y = soft_assignment(y, self._levels, self._temperature).double()
            self._sums += _product(spread_x, spread_y)

    def _add_banded(self, a: Tensor, b: Tensor) -> None:
        """Adds only products of levels near both values.

        Elements whose nearest levels are the same pair ("cell") share the place of their
        band x band products, so these are summed cell by cell first and placed at the end.
        """
        band = 2 * self._reach + 1
        cells = a.new_zeros(self._levels**2, band**2, dtype=torch.float64)
        repeat = torch.eye(band, device=a.device)
        rows = repeat.repeat_interleave(band, dim=1)  # [band, band^2]: entry (i, j) <- i
        columns = repeat.repeat(1, band)  # entry (i, j) <- j
        for x, y in zip(torch.split(a, _CHUNK), torch.split(b, _CHUNK), strict=True):
            nearest_x, spread_x = self._band(x)
            nearest_y, spread_y = self._band(y)
            # Products with 0/1 matrices repeat exactly, and far faster than broadcasting does.
            products = (spread_x @ rows).mul_(spread_y @ columns).double()
            cells.index_add_(0, nearest_x * self._levels + nearest_y, products)
        cells = cells.view(self._levels, self._levels, band, band)
        padded = cells.new_zeros(self._levels + band - 1, self._levels + band - 1)
        for i in range(band):
            for j in range(band):
                padded[i : i + self._levels, j : j + self._levels] += cells[:, :, i, j]
        inner = slice(self._reach, self._reach + self._levels)
        self._sums += padded[inner, inner]

    def _band(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Nearest level [n] and p of the levels within reach of it, [n, 2 reach + 1]."""
        nearest = torch.round(x).clamp(0, self._levels - 1)
        offsets = torch.arange(-self._reach, self._reach + 1, dtype=x.dtype, device=x.device)
        m = nearest.unsqueeze(-1) + offsets
        distance = (x.unsqueeze(-1) - m).square_().div_(-self._temperature)
        distance.masked_fill_((m < 0) | (m > self._levels - 1), -torch.inf)
        return nearest.long(), torch.softmax(distance, dim=-1)


def band_width(levels: int, temperature: float = 1.0) -> int:
    """Levels around a value that hold all but 1e-9 of its mass; all M where that is no saving."""
    band = 2 * _reach(temperature) + 1
    return band if levels > max(_DENSE_LEVELS, band) else levels


def _product(a: Tensor, b: Tensor) -> Tensor:
    """a^T b of [n, M] each, added piece by piece: no library may split the sum among its threads,
    whose number would then decide the last bits."""
    missing = -len(a) % _PIECE
    if missing:
        a, b = (functional.pad(x, (0, 0, 0, missing)) for x in (a, b))
    first, second = (x.view(-1, _PIECE, x.shape[1]) for x in (a, b))
    return torch.bmm(first.transpose(1, 2), second).sum(dim=0)


def _level_units(x: Tensor, grid: AffineGrid) -> Tensor:
    return (x.float() / grid.scale + grid.zero_point).flatten()


def _entropy(p: Tensor) -> float:
    return float(-torch.special.xlogy(p, p).sum())


def _reach(temperature: float) -> int:
    """Levels kept on either side of the nearest: the fewest that lose at most 1e-9 of the mass.

    The worst place is half-way between two levels: its own end of the band is nearer there.
    """
    limit = max(8, math.ceil(8 * math.sqrt(temperature)))
    # Relative to the nearest level, so that nothing vanishes at low temperatures.
    mass = [math.exp((0.25 - (j - 0.5) ** 2) / temperature) for j in range(-limit, limit + 1)]
    total = sum(mass)
    for reach in range(limit):
        kept = sum(mass[limit - reach : limit + reach + 1])
        if total - kept <= _DISCARDED_MASS * total:
            return reach
    return limit
