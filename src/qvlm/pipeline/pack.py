"""Find the packed tensors of every layer among the steps of a run."""

from __future__ import annotations

from collections.abc import Mapping

from qvlm.artefacts import ClipPlan, Site, Tower
from qvlm.artefacts.joined import Source
from qvlm.artefacts.journal import Journal
from qvlm.artefacts.lazy import LazyTensors
from qvlm.artefacts.rounding import RoundingOutcome
from qvlm.export.pack import Packed, pack
from qvlm.schemes import LayerScheme
from qvlm.search import Installer, rounded_towers
from qvlm.search.layers import NEAREST, ROUNDED, step_name


def pack_layers(
    installer: Installer, clips: ClipPlan, rounding: RoundingOutcome | None, steps: Journal
) -> Packed:
    """Returns the packed layers as the rounding left them, to be read from the run's steps."""
    fell_back = rounding is not None and rounding.guard is not None and rounding.guard.fell_back
    rounded = () if fell_back else rounded_towers(installer)

    def packed_layer(tower: Tower, layer: int) -> Mapping[str, Source]:
        if not installer.model_map.sites_of(tower.name, layer):
            return {}
        kind = ROUNDED if tower in rounded else NEAREST
        tensors = LazyTensors(steps.path(step_name(kind, tower.name, layer)))
        return {name: tensors.source(name) for name in tensors}

    def scheme_of(site: Site) -> tuple[LayerScheme, int]:
        return installer.scheme(site), installer.group_size(site)

    recipe, model_map = installer.recipe, installer.model_map
    return pack(model_map, recipe.name, clips.percentiles, scheme_of, packed_layer)
