"""Second moments over the batches of all processes, added in the order of the batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from qvlm.artefacts import Site
from qvlm.numerics.hessian import Hessian
from qvlm.workers import Workers


def owners(sites: Sequence[Site], count: int) -> dict[str, int]:
    """Site name -> the process that factorizes its Hessian, so that all have as much to do.

    Widest sites first, each to the process with the least work so far; work grows with the width
    cubed.
    """
    work = [0] * count
    owner = {}
    for site in sorted(sites, key=lambda site: -site.channels):
        owner[site.name] = min(range(count), key=lambda rank: work[rank])
        work[owner[site.name]] += site.channels**3
    return owner


class HessianSums:
    """Sums of Hessians, each in the process that will use it.

    Every process runs one batch at a time; then each Hessian of these batches goes to its owner,
    who adds them in the order of the batches. So the sums do not depend on the number of
    processes, to the bit. Alone, a batch adds its tokens to the sums themselves: memory is that of
    the sums.
    """

    def __init__(
        self, sites: Sequence[Site], workers: Workers, device: torch.device | None = None
    ) -> None:
        """Starts empty; `device` is where this process computes."""
        self._sites, self._workers, self._device = sites, workers, device
        self._owner = owners(sites, workers.count)
        self._sums = self._empty()

    def of_batch(self) -> Mapping[str, Hessian]:
        """Site name -> what takes the tokens of the next batch."""
        return self._sums if self._workers.count == 1 else self._empty()

    def add(self, parts: Mapping[str, Hessian]) -> None:
        """Adds a batch of every process; one without a batch adds empty ones."""
        if self._workers.count == 1:
            return
        seen = [site.name for site in self._sites if not parts[site.name].is_empty]
        told = self._workers.gather(seen, {name: parts[name].dead for name in seen})
        for site in self._sites:
            for rank, parcel in enumerate(told):
                if site.name in parcel.info:
                    self._hand_over(site, rank, parts[site.name], parcel.tensors[site.name])

    def own(self) -> dict[str, Hessian]:
        """Site name -> its sum, of the sites that are this process's."""
        rank = self._workers.rank
        return {name: self._sums.pop(name) for name, owner in self._owner.items() if owner == rank}

    def _hand_over(self, site: Site, rank: int, part: Hessian, dead: torch.Tensor) -> None:
        """Adds what one process has of a site to the sum of the owner."""
        own = rank == self._workers.rank
        like = torch.empty(site.channels, site.channels, device="meta")
        matrix = self._workers.hand_over(part.matrix if own else like, rank, self._owner[site.name])
        if matrix is not None:
            self._sums[site.name].merge(matrix, dead)

    def _empty(self) -> dict[str, Hessian]:
        return {site.name: Hessian(site.channels, self._device) for site in self._sites}
