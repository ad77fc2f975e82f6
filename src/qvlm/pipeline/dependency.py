"""Measure the dependency of consecutive layers by the recipe's proxy."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qvlm.artefacts import Dependency
from qvlm.artefacts.calibration import Batch
from qvlm.observe import entropy_dependency, error_dependency
from qvlm.search import Installer
from qvlm.search.state import start_indices
from qvlm.workers import ALONE, Workers


def measure_dependency(
    installer: Installer,
    batches: Sequence[Batch],
    progress: Callable[[int, int], None] = lambda done, total: None,
    workers: Workers = ALONE,
) -> Dependency:
    """Returns the dependency that the partition will read.

    The entropy came with the observation; proxies that look at none get it too, for the record.

    Args:
        installer: the full-precision model with its recipe and candidate ranges.
        batches: calibration samples.
        progress: told how far the quantization-error proxy is.
        workers: the processes that share the batches.
    """
    recipe, stats = installer.recipe, installer.stats
    if recipe.partition.proxy != "quantization_error":
        return entropy_dependency(stats)
    start = start_indices(stats, recipe.search.start)
    return error_dependency(
        installer.model,
        installer.model_map,
        batches,
        lambda site: installer.install(site, start.get(site.name)),
        installer.restore,
        progress,
        workers,
    )
