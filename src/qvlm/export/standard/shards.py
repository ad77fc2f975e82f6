"""Safetensors files of a bounded size, with the index that loaders look for."""

from __future__ import annotations

import json
from pathlib import Path

from torch import Tensor

from qvlm.artefacts.tensors import write_tensors

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
MAX_SHARD_BYTES = 5_000_000_000


def write_shards(directory: Path, tensors: dict[str, Tensor], limit: int = MAX_SHARD_BYTES) -> int:
    """Writes tensors as one file, or as several with an index where one would be too large.

    Args:
        directory: exists.
        tensors: by name on the hub; a tensor larger than the limit gets a file of its own.
        limit: most bytes of tensors in a file.

    Returns:
        Bytes of all tensor files.
    """
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        if size and size + tensor.nbytes > limit:
            shards.append({})
            size = 0
        shards[-1][name] = tensor
        size += tensor.nbytes
    if len(shards) == 1:
        write_tensors(directory / SINGLE, shards[0], {"format": "pt"})
        return (directory / SINGLE).stat().st_size
    written = 0
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors"
        write_tensors(directory / file, shard, {"format": "pt"})
        weight_map |= dict.fromkeys(shard, file)
        written += (directory / file).stat().st_size
    total = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (directory / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    return written
