"""Find the packed tensors of every layer among the steps of a run."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from qvlm.artefacts import ClipPlan, Site, Tower
from qvlm.artefacts.checkpoint import QuantizedTable
from qvlm.artefacts.joined import Source
from qvlm.artefacts.journal import Journal
from qvlm.artefacts.lazy import LazyTensors
from qvlm.artefacts.rounding import RoundingOutcome
from qvlm.export.pack import Packed, PackedTable, pack
from qvlm.numerics.weights import QuantizedWeight
from qvlm.runtime.packed import packed_weight
from qvlm.schemes import LayerScheme
from qvlm.search import Installer, rounded_towers
from qvlm.search.layers import NEAREST, ROUNDED, step_name


def pack_layers(
    installer: Installer,
    clips: ClipPlan,
    rounding: RoundingOutcome | None,
    steps: Journal,
    embeddings: QuantizedWeight | None = None,
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
    table = None
    if embeddings is not None and model_map.embeddings is not None:
        kept: Any = installer.model.get_submodule(model_map.embeddings)
        table = _packed_table(model_map.embeddings, embeddings, kept.weight.dtype)
    return pack(model_map, recipe.name, clips.percentiles, scheme_of, packed_layer, table)


def _packed_table(path: str, weight: QuantizedWeight, dtype: torch.dtype) -> PackedTable:
    entry = QuantizedTable.model_validate(
        {
            "path": path,
            "rows": weight.levels.shape[0],
            "width": weight.levels.shape[1],
            "bits": weight.bits,
            "group_size": weight.group_size,
            "symmetric": weight.symmetric,
            "dtype": str(dtype).removeprefix("torch."),
        }
    )
    tensors = {
        name: Source(tensor.dtype, tuple(tensor.shape), partial(_same, tensor))
        for name, tensor in packed_weight(path, weight).items()
    }
    return PackedTable(entry, tensors)


def _same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor
