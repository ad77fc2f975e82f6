"""The observe stage: two full-precision passes over the calibration samples.

The first finds every site's candidate ranges, from every position. The second measures what they
cost (lp error) and how strongly consecutive layers depend on each other (entropy): both are means
over positions and channels, for which some thousand positions, evenly spread, are plenty. Both
passes are made at one layer before the next: memory beyond the hidden states is that of a layer.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence

from torch import nn

from qvlm.artefacts import ModelMap
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.statistics import ActivationStats, SiteStats
from qvlm.artefacts.steps import InMemory, Steps
from qvlm.observe.tower import TowerObserver
from qvlm.schemes import Recipe
from qvlm.workers import ALONE, Workers

Progress = Callable[[int, int], None]


def observe(
    model: nn.Module,
    model_map: ModelMap,
    recipe: Recipe,
    batches: Sequence[Batch],
    progress: Progress = lambda done, total: None,
    steps: Steps | None = None,
    name: str = "observe",
    workers: Workers = ALONE,
) -> ActivationStats:
    """Returns candidate ranges of all static sites and the dependency of all towers.

    Args:
        model: in full precision.
        model_map: its towers and sites.
        recipe: which sites have ranges, and the candidates.
        batches: calibration samples.
        progress: told how many layers are done.
        steps: keeps finished layers; by default nothing is kept.
        name: of the stage among the steps.
        workers: the processes that share the batches; all return the same.

    Raises:
        DataError: a site saw no token (no sample has an image, say).
    """
    start = time.perf_counter()
    schemes = {
        site.name: scheme.activations
        for site in model_map.sites
        if (scheme := recipe.tower_scheme(site.tower)) is not None
    }
    kept = InMemory() if steps is None else steps
    total = sum(len(tower.layers) for tower in model_map.quantized_towers)
    done = 0
    forwards = entropy_seconds = 0.0
    sites: dict[str, SiteStats] = {}
    dependency = {tower.name: (0.0,) * (len(tower.layers) - 1) for tower in model_map.towers}
    for tower in model_map.quantized_towers:
        links = []
        observer = TowerObserver(
            model, model_map, tower, recipe, schemes, batches, kept, name, workers
        )
        for layer in observer.layers():
            sites |= layer.sites
            links.append(layer.link)
            done += 1
            progress(done, total)
        dependency[tower.name] = tuple(links[1:])
        forwards += observer.layer_forwards
        entropy_seconds += observer.entropy_seconds
    _warn_of_dead_channels(sites)
    return ActivationStats(
        percentiles=recipe.search.percentiles,
        sites=sites,
        dependency=dependency,
        forward_equivalents=forwards / model_map.layer_count,
        seconds=time.perf_counter() - start,
        entropy_seconds=entropy_seconds,
    )


def _warn_of_dead_channels(sites: Mapping[str, SiteStats]) -> None:
    """Says which sites have channels without a range: these quantize to exact zeros."""
    for name, site in sites.items():
        dead = int(((site.lower[0] == 0) & (site.upper[0] == 0)).sum())
        if dead:
            warnings.warn(
                f"{dead} of {site.lower.shape[1]} channels of '{name}' are zero in all "
                "calibration samples: they stay exact zeros at run time",
                stacklevel=3,
            )
