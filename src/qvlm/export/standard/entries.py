"""Entries of `targets` and `ignore` that name layers as the files do.

llm-compressor lists what it left alone by the names of the files. Transformers 5 compares with the
names in memory, finds none of them and takes those layers for quantized: it fills in scales.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any


def in_memory(
    raw: Mapping[str, Any], linears: Collection[str], names: Mapping[str, str]
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Returns a `quantization_config` that Transformers understands, and the entries it did not.

    Expressions and class names stay what they are, as do names that are right already.

    Args:
        raw: as written, of the schema.
        linears: module paths of the architecture, in memory.
        names: name in the files -> name in memory, of tensors.
    """
    paths = {
        file.rpartition(".")[0]: memory.rpartition(".")[0]
        for file, memory in names.items()
        if memory.rpartition(".")[0] in linears
    }
    found = copy.deepcopy(dict(raw))
    misnamed: list[str] = []

    def renamed(entries: list[str]) -> list[str]:
        misnamed.extend(entry for entry in entries if entry not in linears and entry in paths)
        return [entry if entry in linears else paths.get(entry, entry) for entry in entries]

    if found.get("ignore"):
        found["ignore"] = renamed(found["ignore"])
    for group in found["config_groups"].values():
        group["targets"] = renamed(group["targets"])
    return found, tuple(misnamed)
