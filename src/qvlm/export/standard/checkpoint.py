"""A compressed-tensors checkpoint, written from a native run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from torch import nn

from qvlm.artefacts.checkpoint import WEIGHTS_NAME, CheckpointIndex
from qvlm.artefacts.tensors import read_tensors
from qvlm.export.checkpoint import COPIED
from qvlm.export.standard.config import quantization_config
from qvlm.export.standard.convert import Folds, convert
from qvlm.export.standard.experts import expert_parts, hub_paths, on_hub, with_split_experts
from qvlm.export.standard.sayable import check_sayable
from qvlm.export.standard.shards import MAX_SHARD_BYTES, write_shards
from qvlm.models.hub_names import hub_names
from qvlm.runtime.empty import empty_model
from qvlm.runtime.load import read_index


def write_standard(
    directory: Path, run: Path, max_shard_bytes: int = MAX_SHARD_BYTES
) -> tuple[Folds, int]:
    """Writes config, weights and the copies of a run's files into `directory`.

    Args:
        directory: exists.
        run: directory of a native run.
        max_shard_bytes: most bytes of tensors in a file.

    Returns:
        Where ranges per channel went, and the bytes of the weights.

    Raises:
        ExportError: the format cannot say what the run holds.
        ArtefactError: the run is damaged.
    """
    index = read_index(run)
    model = empty_model(run)
    check_sayable(model, index)
    parts = expert_parts(model)
    split = with_split_experts(index, parts)
    config = quantization_config(split)
    tensors, folds = convert(model, index, read_tensors(run / WEIGHTS_NAME), parts)
    names = _names(model, split, list(tensors), hub_paths(parts))
    written = write_shards(
        directory, {names[name]: tensor for name, tensor in tensors.items()}, max_shard_bytes
    )
    values = json.loads((run / "config.json").read_text(encoding="utf-8"))
    values["quantization_config"] = config
    (directory / "config.json").write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    for name in (*COPIED, "recipe.yaml"):
        if (run / name).is_file():
            shutil.copyfile(run / name, directory / name)
    return folds, written


def _names(
    model: nn.Module, index: CheckpointIndex, names: list[str], experts: dict[str, str]
) -> dict[str, str]:
    """Name in memory -> name on the hub; the parts of a quantized weight are named after it."""
    quantized = {layer.path for layer in index.layers}
    apart = {
        name: f"{path}.{name.rpartition('.')[2]}"
        for name in names
        if (path := on_hub(name.rpartition(".")[0], experts)) is not None
    }
    parts = {
        name: f"{path}.weight"
        for name in names
        if (path := name.rpartition(".")[0]) in quantized and not name.endswith(".bias")
    }
    whole = [name for name in names if name not in apart]
    found = hub_names(model, {parts.get(name, name): None for name in whole})
    return apart | {
        name: found[name]
        if name not in parts
        else f"{found[parts[name]].removesuffix('.weight')}.{name.rpartition('.')[2]}"
        for name in whole
    }
