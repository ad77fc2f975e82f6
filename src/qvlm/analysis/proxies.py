"""Both proxies of the dependency, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from qvlm.analysis.errors import Values, errors_by_sample
from qvlm.artefacts import ModelMap, Tower
from qvlm.artefacts.calibration import Batch
from qvlm.models.replay import TowerInput
from qvlm.observe.collectors import PairCollector
from qvlm.observe.dependency import surviving
from qvlm.observe.hooks import watch_inputs
from qvlm.observe.tails import Ranges, leading_sites
from qvlm.search import Installer
from qvlm.search.state import start_indices


@torch.no_grad()
def sample_entropies(
    installer: Installer, tower: Tower, batches: Sequence[Batch]
) -> dict[int, Values]:
    """First layer of a link -> D(k, k+1) of every sample's tokens, on the grids of all samples.

    Two forwards of the full-precision model: one for the grids, one for the entropies.
    """
    model, model_map = installer.model, installer.model_map
    leaders = {n: s for n, s in leading_sites(model_map).items() if s.tower == tower.name}
    part = model_map.model_copy(update={"sites": tuple(leaders.values()), "towers": (tower,)})
    schemes = {name: installer.scheme(site).activations for name, site in leaders.items()}
    extremes = _extremes(model, part, batches)
    values: dict[int, list[float]] = {k: [] for k in range(len(tower.layers) - 1)}
    for batch in batches:
        tokens = batch.valid.sum(dim=1).tolist()
        collectors = [PairCollector(part, schemes, extremes) for _ in tokens]

        def see(
            site: str,
            x: torch.Tensor,
            tokens: list[int] = tokens,
            collectors: list[PairCollector] = collectors,
        ) -> None:
            for collector, rows in zip(collectors, torch.split(x, tokens), strict=True):
                collector.see(site, rows)

        with watch_inputs(model, part, batch, see):
            model(**batch.inputs, use_cache=False)
        for collector in collectors:
            for k, value in enumerate(collector.dependency()[tower.name]):
                values[k].append(value)
    return {k: tuple(of_samples) for k, of_samples in values.items()}


@torch.no_grad()
def sample_quantization_errors(
    installer: Installer, tower: Tower, inputs: Sequence[TowerInput]
) -> dict[int, Values]:
    """First layer of a link -> D_err(k, k+1) of every sample's tokens."""
    start = start_indices(installer.stats, installer.recipe.search.start)
    pairs = surviving(
        installer.model,
        installer.model_map,
        tower,
        inputs,
        lambda site: installer.install(site, start.get(site.name)),
        installer.restore,
    )
    return {k: errors_by_sample(inputs, *pair) for k, pair in enumerate(pairs)}


def _extremes(model: nn.Module, model_map: ModelMap, batches: Sequence[Batch]) -> dict[str, Ranges]:
    """Site -> smallest and largest value per channel, each [1, channels]."""
    found: dict[str, Ranges] = {}

    def see(site: str, x: torch.Tensor) -> None:
        lower, upper = x.amin(dim=0, keepdim=True), x.amax(dim=0, keepdim=True)
        if site in found:
            lower, upper = (
                torch.minimum(lower, found[site][0]),
                torch.maximum(upper, found[site][1]),
            )
        found[site] = lower, upper

    for batch in batches:
        with watch_inputs(model, model_map, batch, see):
            model(**batch.inputs, use_cache=False)
    return found
