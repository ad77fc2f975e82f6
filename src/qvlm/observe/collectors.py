"""What ranges cost and how layers depend on each other, kept while activations stream by."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import pairwise

import torch

from qvlm.artefacts import ModelMap, Site
from qvlm.numerics.affine import AffineGrid, grid_from_range
from qvlm.numerics.clipping import clip_error
from qvlm.numerics.entropy import JointHistogram
from qvlm.observe.tails import Ranges, leading_sites
from qvlm.schemes.layer import ActivationScheme
from qvlm.workers import ALONE, Workers


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
        self._sums: dict[int, dict[str, torch.Tensor]] = {}
        self._elements: dict[int, dict[str, int]] = {}

    def see(self, site: str, x: torch.Tensor, batch: int = 0) -> None:
        """Takes x [tokens, channels] of a batch."""
        if site not in self._ranges:
            return
        lower, upper = self._ranges[site]
        scheme = self._schemes[site]
        sums = clip_error(x, lower, upper, scheme.bits, scheme.symmetric, self._lp_norm)
        known, elements = self._sums.setdefault(batch, {}), self._elements.setdefault(batch, {})
        known[site] = known.get(site, torch.zeros_like(sums)) + sums
        elements[site] = elements.get(site, 0) + x.numel()

    def join(self, workers: Workers) -> None:
        """Takes what all processes have seen of their batches."""
        sums = {batch: {s: t.tolist() for s, t in own.items()} for batch, own in self._sums.items()}
        told = workers.join({batch: (sums[batch], self._elements[batch]) for batch in sums})
        self._sums = {
            index: {site: torch.tensor(values, dtype=torch.float64) for site, values in own.items()}
            for index, (own, _) in enumerate(told)
        }
        self._elements = {index: elements for index, (_, elements) in enumerate(told)}

    def mean(self, site: str) -> torch.Tensor:
        """[percentiles] float64, mean of |x - x^|^p over all elements; 0 without any."""
        total = torch.zeros(len(self._ranges[site][0]), dtype=torch.float64)
        for batch in sorted(self._sums):
            total = total + self._sums[batch].get(site, 0)
        return total / max(1, sum(own.get(site, 0) for own in self._elements.values()))


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
        self._histograms: dict[tuple[str, int], dict[int, JointHistogram]] = {}
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
                of_link = self._histograms.setdefault((leader.tower, layer), {})
                of_link.setdefault(batch, JointHistogram(levels)).update(before, x, *grids)
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

    def join(self, tower: str, k: int, workers: Workers) -> None:
        """Adds up one link over the batches of all processes, in the order of the batches."""
        own = self._histograms.get((tower, k), {})
        told = workers.gather(
            list(own), {str(batch): histogram.sums for batch, histogram in own.items()}
        )
        parts = {batch: parcel.tensors[str(batch)] for parcel in told for batch in parcel.info}
        if parts:
            total = JointHistogram(len(next(iter(parts.values()))))
            for batch in sorted(parts):
                total.merge(parts[batch])
            self._histograms[tower, k] = {0: total}

    def link(self, tower: str, k: int) -> float:
        """D(k, k+1) of one link."""
        self.join(tower, k, ALONE)
        histogram = self._histograms.get((tower, k), {}).get(0)
        return 0.0 if histogram is None else histogram.conditional_entropy()
