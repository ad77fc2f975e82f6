"""Candidate ranges: the tails of what every site reads, while it streams by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from qvlm.artefacts import ModelMap, Site
from qvlm.artefacts.calibration import Batch
from qvlm.errors import DataError
from qvlm.numerics.clipping import TailQuantiles
from qvlm.schemes.layer import ActivationScheme
from qvlm.workers import Workers

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
        self._pools: dict[str, TailQuantiles] = {}
        self._announced: dict[str, int] = {}
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
            self._tails[site] = self._stream(site, x.shape[1], total)
        self._tails[site].update(x)
        if self._sites[site].expert is not None:
            self._pool(self._sites[site], x, total)

    def join(self, workers: Workers) -> None:
        """Puts together what all processes have seen; order statistics need no order."""
        if workers.count == 1:
            return
        told = workers.gather(self.positions)
        self.positions = {
            site: sum(parcel.info.get(site, 0) for parcel in told)
            for site in self._sites
            if any(site in parcel.info for parcel in told)
        }
        for streams in (self._tails, self._pools):
            joined = self._joined(workers, streams)
            streams.clear()
            streams.update(joined)

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
            self._pools[key] = self._stream(site.name, x.shape[1], experts * total, key)
        self._pools[key].update(x)

    def _stream(self, site: str, channels: int, total: int, key: str = "") -> TailQuantiles:
        """An empty stream of a site, or of what all experts like it read."""
        self._announced[key or site] = total
        static = self._schemes[site].is_static
        return TailQuantiles(channels, self._percentiles if static else (1.0,), total)

    def _joined(
        self, workers: Workers, streams: Mapping[str, TailQuantiles]
    ) -> dict[str, TailQuantiles]:
        """The streams of all processes, each as if one had seen them all."""
        info: dict[str, list[int]] = {}
        tensors: dict[str, torch.Tensor] = {}
        for name, stream in streams.items():
            if stream.tails is not None:
                info[name] = [stream.seen, self._announced[name]]
                tensors[f"{name} low"], tensors[f"{name} high"] = stream.tails
        told = workers.gather(info, tensors)
        joined: dict[str, TailQuantiles] = {}
        sites = {_pool_key(site): site.name for site in self._sites.values()}
        for name in dict.fromkeys(name for parcel in told for name in parcel.info):
            total = max(parcel.info[name][1] for parcel in told if name in parcel.info)
            for parcel in told:
                if name in parcel.info:
                    low, high = (parcel.tensors[f"{name} {end}"] for end in ("low", "high"))
                    if name not in joined:
                        joined[name] = self._stream(sites.get(name, name), len(low), total, name)
                    joined[name].merge(low, high, parcel.info[name][0])
        return joined

    def _total(self, site: str, batch: Batch, rows: int) -> int:
        """The most rows that the site can have seen at the end of the pass."""
        if self._sites[site].reads_tokens:
            return self._tokens
        return math.ceil(rows * self._tiles / max(_tiles(batch)[1], 1))


def leading_sites(model_map: ModelMap) -> dict[str, Site]:
    """Name -> the first site of each layer: what the dependency is measured on."""
    return {site.name: site for site in model_map.leading_sites()}


def _pool_key(site: Site) -> str:
    """Sites of one layer's experts that share a range: what they read, or what their ends read."""
    return f"experts of {site.tower}.{site.layer} {'out' if site.role.endswith('_out') else 'in'}"


def _tiles(batch: Batch) -> tuple[int, int]:
    """Images, tiles of images or patches in a batch, and how many of them are no padding.

    A tower runs on as many rows for each of them, and may or may not leave out the padding.
    """
    pixels = batch.inputs.get("pixel_values")
    if pixels is None:
        return 0, 0
    rows = pixels.flatten(0, max(pixels.ndim - 4, 0)).flatten(1)
    return len(rows), int(rows.any(dim=1).sum())
