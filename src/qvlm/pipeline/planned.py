"""What a run's index will say, from the model's shapes and the recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qvlm import __version__
from qvlm.artefacts.checkpoint import CheckpointIndex, QuantizedLayer
from qvlm.models import describe
from qvlm.models.adapter import linear_at
from qvlm.models.describe import group_size_of
from qvlm.models.load import load_empty
from qvlm.schemes import Recipe


def planned_index(
    model: str | Path, recipe: Recipe, *, trust_remote_code: bool = False
) -> tuple[Path, CheckpointIndex]:
    """Returns the model's directory and the index that a run will have.

    Percentiles and quantized embeddings are left out.

    Args:
        model: as `quantize` takes it.
        recipe: what is quantized and how.
        trust_remote_code: run Python code that comes with the model.

    Raises:
        ModelError: it does not exist, or does not fit the recipe.
    """
    loaded: Any = load_empty(model, adapter=recipe.adapter, trust_remote_code=trust_remote_code)
    model_map = describe(loaded.model, recipe)
    layers = []
    for site in model_map.sites:
        scheme = recipe.tower_scheme(site.tower)
        if scheme is None:
            continue
        layers += [
            QuantizedLayer(
                path=path,
                site=site.name,
                tower=site.tower,
                in_features=site.channels,
                out_features=linear_at(loaded.model, path).out_features,
                weight_bits=scheme.weights.bits,
                group_size=group_size_of(site, recipe),
                symmetric=scheme.weights.symmetric,
                activations=scheme.activations,
            )
            for path in site.linears
        ]
    index = CheckpointIndex(
        qvlm_version=__version__,
        architecture=model_map.architecture,
        recipe=recipe.name,
        layers=tuple(layers),
        skipped=model_map.skipped,
    )
    return loaded.directory, index
