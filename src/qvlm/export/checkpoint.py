"""Write a native checkpoint (docs/format.md)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from torch import nn

from qvlm.artefacts.checkpoint import (
    INDEX_NAME,
    QUANT_METHOD,
    WEIGHTS_NAME,
    CheckpointIndex,
)
from qvlm.artefacts.joined import Source, write_joined
from qvlm.artefacts.store import write_json
from qvlm.models.residency import stored

COPIED = (
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "merges.txt",
    "preprocessor_config.json",
    "processor_config.json",
    "sentencepiece.bpe.model",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "video_preprocessor_config.json",
    "vocab.json",
    "vocab.txt",
)
"""Files of the source that a checkpoint needs; copied byte for byte where they exist."""


def write_checkpoint(
    directory: Path,
    source: Path,
    model: nn.Module,
    packed: Mapping[str, Source],
    index: CheckpointIndex,
) -> int:
    """Writes weights, index, config and the source's processor files into `directory`.

    Args:
        directory: exists already and is empty or holds other artefacts.
        source: directory of the full-precision model.
        model: full-precision model, whose other tensors are stored as they are.
        packed: tensors of the quantized layers.
        index: what is quantized and how.

    Returns:
        Bytes of the weights file.
    """
    weights = directory / WEIGHTS_NAME
    quantized = {layer.path for layer in index.layers}
    if index.embeddings is not None:
        quantized.add(index.embeddings.path)
    tensors = float_tensors(model, quantized) | dict(packed)
    write_joined(weights, tensors, {"format": "pt"})
    write_json(directory / INDEX_NAME, index)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    # Says what this is; the name of the weights file makes other loaders refuse.
    config["quantization_config"] = {
        "quant_method": QUANT_METHOD,
        "format_version": index.format_version,
    }
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    for name in COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, directory / name)
    return weights.stat().st_size


def float_tensors(model: nn.Module, quantized: set[str]) -> dict[str, Source]:
    """Returns the tensors that stay in floating point; tied ones once.

    Args:
        model: full-precision model.
        quantized: paths of the linears whose weight is stored packed.
    """
    tensors: dict[str, Source] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        path, _, leaf = name.rpartition(".")
        if (path in quantized and leaf == "weight") or id(tensor) in seen:
            continue
        seen.add(id(tensor))
        load = partial(stored, model, name)
        tensors[name] = Source(tensor.dtype, tuple(tensor.shape), load)
    return tensors
