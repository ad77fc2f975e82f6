"""What is kept of the activations while they stream by."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch

from qvlm.artefacts import ModelMap, Site
from qvlm.artefacts.calibration import Batch
from qvlm.errors import DataError
from qvlm.numerics.affine import AffineGrid, grid_from_range
from qvlm.numerics.clipping import TailQuantiles, clip_error
from qvlm.numerics.entropy import JointHistogram
from qvlm.schemes.layer import ActivationScheme

Ranges = tuple[torch.Tensor, torch.Tensor]
"""Lower and upper bounds, each [percentiles, channels]."""


class TailCollector:
    """Exact per-channel quantiles of every site that needs a range.

    An expert that fewer than `expert_tokens` tokens were routed to says too little of its inputs:
    it gets the range over all experts of its layer.
    """

    def __init__(
        self,
        model_map: ModelMap,
        schemes: Mapping[str, ActivationScheme],
        percentiles: Sequence[float],
        batches: Sequence[Batch],
        expert_tokens: int = 0,
    ) -> None:
        self._sites = {site.name: site for site in model_map.sites}
        self._schemes = schemes
        self._percentiles = tuple(percentiles)
        self._tokens = sum(int(batch.valid.sum()) for batch in batches)
        self._tiles = sum(_tiles(batch)[0] for batch in batches)
        self._expert_tokens = expert_tokens
        self._leaders = leading_sites(model_map)
        self._tails: dict[str, TailQuantiles] = {}
        self._pools: dict[tuple[str, int, bool], TailQuantiles] = {}
        self.positions: dict[str, int] = {}
        """Site -> number of positions seen."""

    def see(self, batch: Batch, site: str, x: torch.Tensor) -> None:
        """Takes x [tokens, channels] of one batch."""
        scheme = self._schemes[site]
        if not scheme.is_static and site not in self._leaders:
            return
        self.positions[site] = self.positions.get(site, 0) + len(x)
        total = self._total(site, batch, len(x))
        if self._is_per_tensor(site):
            total, x = total * x.shape[1], x.reshape(-1, 1)
        if site not in self._tails:
            percentiles = self._percentiles if scheme.is_static else (1.0,)
            self._tails[site] = TailQuantiles(x.shape[1], percentiles, total)
        self._tails[site].update(x)
        if self._sites[site].expert is not None:
            self._pool(self._sites[site], x, total)

    def ranges(self) -> dict[str, Ranges]:
        """Site -> candidate ranges, for the static sites.

        Raises:
            DataError: a static site saw no token.
        """
        ranges = {}
        for name in self._sites:
            if not self._schemes[name].is_static:
                continue
            tails = self._pools.get(_pool_key(self._sites[name]), self._tails.get(name))
            if self._sites[name].expert is None or self._seen(name) >= self._expert_tokens:
                tails = self._tails.get(name)
            if tails is None:
                raise DataError(
                    f"calibration never reached '{name}': give samples that use it "
                    "(images for the vision tower and the projector)"
                )
            ranges[name] = tails.ranges()
        return ranges

    def extremes(self) -> dict[str, Ranges]:
        """Leading site of a layer -> its smallest and largest value, each [1, channels]."""
        return {
            name: (lower[:1], upper[:1])
            for name in self._leaders
            if name in self._tails
            for lower, upper in [self._tails[name].ranges()]
        }

    def _is_per_tensor(self, site: str) -> bool:
        return self._schemes[site].is_static and self._schemes[site].granularity == "per_tensor"

    def _seen(self, site: str) -> int:
        return self.positions.get(site, 0)

    def _pool(self, site: Site, x: torch.Tensor, total: int) -> None:
        """Adds what an expert reads to what all experts of its layer read."""
        key = _pool_key(site)
        if key not in self._pools:
            # A token may be routed to every expert.
            experts = sum(_pool_key(other) == key for other in self._sites.values())
            self._pools[key] = TailQuantiles(x.shape[1], self._percentiles, experts * total)
        self._pools[key].update(x)

    def _total(self, site: str, batch: Batch, rows: int) -> int:
        """The most rows that the site can have seen at the end of the pass."""
        if self._sites[site].reads_tokens:
            return self._tokens
        return math.ceil(rows * self._tiles / max(_tiles(batch)[1], 1))


class ErrorCollector:
    """lp error of every candidate range at every static site."""

    def __init__(
        self,
        schemes: Mapping[str, ActivationScheme],
        ranges: Mapping[str, Ranges],
        lp_norm: float,
    ) -> None:
        self._schemes = schemes
        self._ranges = ranges
        self._lp_norm = lp_norm
        self._sums: dict[str, torch.Tensor] = {}
        self._elements: dict[str, int] = {}

    def see(self, site: str, x: torch.Tensor) -> None:
        """Takes x [tokens, channels]."""
        if site not in self._ranges:
            return
        lower, upper = self._ranges[site]
        scheme = self._schemes[site]
        sums = clip_error(x, lower, upper, scheme.bits, scheme.symmetric, self._lp_norm)
        self._sums[site] = self._sums.get(site, torch.zeros_like(sums)) + sums
        self._elements[site] = self._elements.get(site, 0) + x.numel()

    def mean(self, site: str) -> torch.Tensor:
        """[percentiles] float64, mean of |x - x^|^p over all elements; 0 without any."""
        if site not in self._sums:
            return torch.zeros(len(self._ranges[site][0]), dtype=torch.float64)
        return self._sums[site] / self._elements[site]


class PairCollector:
    """Joint histograms of the inputs of consecutive layers (METHOD: cross-layer dependency).

    Attributes:
        seconds: wall time spent on them so far.
    """

    def __init__(
        self,
        model_map: ModelMap,
        schemes: Mapping[str, ActivationScheme],
        extremes: Mapping[str, Ranges],
    ) -> None:
        self._layers = {tower.name: len(tower.layers) for tower in model_map.towers}
        self._leaders = leading_sites(model_map)
        self._schemes = schemes
        self._grids: dict[str, AffineGrid] = {}
        self.know(extremes)
        self._histograms: dict[tuple[str, int], JointHistogram] = {}
        self.seconds = 0.0
        self._earlier: dict[tuple[str, int], tuple[int, str, torch.Tensor]] = {}

    def know(self, extremes: Mapping[str, Ranges]) -> None:
        """Takes the smallest and largest value of leading sites, before `see` meets them."""
        for name, (lower, upper) in extremes.items():
            # Floats have no levels: their dependency is measured on 8-bit ones.
            bits = min(8, self._schemes[name].bits)
            self._grids[name] = grid_from_range(lower[0], upper[0], bits)

    def see(self, site: str, x: torch.Tensor, batch: int = 0) -> None:
        """Takes x [tokens, channels]; layers of a tower arrive in order, batch by batch or not."""
        leader = self._leaders.get(site)
        if leader is None:
            return
        start = time.perf_counter()
        self._pair(leader, x, batch)
        self.seconds += time.perf_counter() - start

    def _pair(self, leader: Site, x: torch.Tensor, batch: int) -> None:
        earlier = self._earlier.get((leader.tower, batch))
        if earlier is not None:
            layer, name, before = earlier
            if layer + 1 == leader.layer and before.shape == x.shape:
                grids = self._grids[name], self._grids[leader.name]
                levels = grids[0].levels
                key = (leader.tower, layer)
                histogram = self._histograms.setdefault(key, JointHistogram(levels))
                histogram.update(before, x, *grids)
        is_last = leader.layer + 1 == self._layers[leader.tower]
        if is_last:
            self._earlier.pop((leader.tower, batch), None)
        else:
            self._earlier[leader.tower, batch] = (leader.layer, leader.name, x)

    def dependency(self) -> dict[str, tuple[float, ...]]:
        """Tower -> D(k, k+1) in nats; 0 for a pair whose widths differ or that was excluded."""
        return {
            tower: tuple(self.link(tower, k) for k, _ in pairwise(range(layers)))
            for tower, layers in self._layers.items()
        }

    def link(self, tower: str, k: int) -> float:
        """D(k, k+1) of one link."""
        histogram = self._histograms.get((tower, k))
        return 0.0 if histogram is None else histogram.conditional_entropy()


def leading_sites(model_map: ModelMap) -> dict[str, Site]:
    """Name -> the first site of each layer: what the dependency is measured on."""
    return {site.name: site for site in model_map.leading_sites()}


def _pool_key(site: Site) -> tuple[str, int, bool]:
    """Sites of one layer's experts that share a range: what they read, or what their ends read."""
    return site.tower, site.layer, site.role.endswith("_out")


def _tiles(batch: Batch) -> tuple[int, int]:
    """Images, tiles of images or patches in a batch, and how many of them are no padding.

    A tower runs on as many rows for each of them, and may or may not leave out the padding.
    """
    pixels = batch.inputs.get("pixel_values")
    if pixels is None:
        return 0, 0
    rows = pixels.flatten(0, max(pixels.ndim - 4, 0)).flatten(1)
    return len(rows), int(rows.any(dim=1).sum())
