"""The observe stage: two full-precision forwards over the calibration samples.

The first finds every site's candidate ranges, from every position. The second measures what they
cost (lp error) and how strongly consecutive layers depend on each other (entropy): both are means
over positions and channels, for which some thousand positions, evenly spread, are plenty. Beyond
the tails that exact quantiles need, memory does not grow with the number of samples.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from qvlm.artefacts import ModelMap
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.statistics import ActivationStats, SiteStats
from qvlm.observe.collectors import ErrorCollector, PairCollector, TailCollector
from qvlm.observe.heads import share_heads
from qvlm.observe.hooks import watch_inputs
from qvlm.schemes import Recipe

Progress = Callable[[int, int], None]

MEAN_POSITIONS = 4096
"""Positions per site that the means look at; of up to twice as many, all."""


def observe(
    model: nn.Module,
    model_map: ModelMap,
    recipe: Recipe,
    batches: Sequence[Batch],
    progress: Progress = lambda done, total: None,
) -> ActivationStats:
    """Returns candidate ranges of all static sites and the dependency of all towers.

    Raises:
        DataError: a site saw no token (no sample has an image, say).
    """
    start = time.perf_counter()
    schemes = {
        site.name: scheme.activations
        for site in model_map.sites
        if (scheme := recipe.tower_scheme(site.tower)) is not None
    }
    percentiles = recipe.search.percentiles
    total = 2 * len(batches)
    tails = TailCollector(
        model_map, schemes, percentiles, batches, recipe.calibration.expert_tokens
    )
    for done, batch in enumerate(batches, start=1):
        _forward(model, model_map, batch, partial(tails.see, batch))
        progress(done, total)
    ranges = tails.ranges()
    if recipe.calibration.share_heads:
        ranges = share_heads(ranges, model, model_map)
    errors = ErrorCollector(schemes, ranges, recipe.search.lp_norm)
    pairs = PairCollector(model_map, schemes, tails.extremes())

    def see(site: str, x: torch.Tensor) -> None:
        x = x[:: max(1, tails.positions.get(site, 0) // MEAN_POSITIONS)]
        errors.see(site, x)
        pairs.see(site, x)

    for done, batch in enumerate(batches, start=len(batches) + 1):
        _forward(model, model_map, batch, see)
        progress(done, total)
    sites = {
        name: SiteStats(lower, upper, errors.mean(name), tails.positions.get(name, 0))
        for name, (lower, upper) in ranges.items()
    }
    _warn_of_dead_channels(sites)
    return ActivationStats(
        percentiles=percentiles,
        sites=sites,
        dependency=pairs.dependency(),
        forward_equivalents=2.0,
        seconds=time.perf_counter() - start,
        entropy_seconds=pairs.seconds,
    )


def _warn_of_dead_channels(sites: dict[str, SiteStats]) -> None:
    """Says which sites have channels without a range: these quantize to exact zeros."""
    for name, site in sites.items():
        dead = int(((site.lower[0] == 0) & (site.upper[0] == 0)).sum())
        if dead:
            warnings.warn(
                f"{dead} of {site.lower.shape[1]} channels of '{name}' are zero in all "
                "calibration samples: they stay exact zeros at run time",
                stacklevel=3,
            )


@torch.no_grad()
def _forward(
    model: nn.Module,
    model_map: ModelMap,
    batch: Batch,
    see: Callable[[str, torch.Tensor], None],
) -> None:
    with watch_inputs(model, model_map, batch, see):
        model(**batch.inputs, use_cache=False)
