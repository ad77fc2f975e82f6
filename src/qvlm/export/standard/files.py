"""What a checkpoint's safetensors files hold, read from their headers only; strangers' files."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from qvlm.errors import ArtefactError
from qvlm.export.standard.shards import INDEX, SINGLE

_LARGEST_INDEX = 200_000_000
"""Bytes of an index; the largest models' have a few million."""


@dataclass(frozen=True)
class Held:
    """A tensor in a file.

    Attributes:
        file: that holds it.
        shape: its dimensions.
        dtype: as safetensors names it, for instance `F32`.
    """

    file: Path
    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor."""
        return self.count * _BYTES[self.dtype]

    @property
    def count(self) -> int:
        """Number of its elements."""
        return math.prod(self.shape)


_BYTES = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1,
    "BOOL": 1, "U16": 2, "U32": 4, "U64": 8, "F8_E4M3": 1, "F8_E5M2": 1,
}  # fmt: skip


def held_tensors(directory: Path) -> dict[str, Held]:
    """Returns name -> tensor of all safetensors files of a checkpoint.

    Raises:
        ArtefactError: a file is missing, damaged or outside the directory, the index and the
            files disagree, or a type is unknown.
    """
    if (directory / SINGLE).is_file():
        return held_in_file(directory / SINGLE)
    index = directory / INDEX
    if not index.is_file():
        raise ArtefactError(
            f"'{directory}' holds no {SINGLE} and no {INDEX}: qvlm reads safetensors only"
        )
    weight_map = _weight_map(index)
    found: dict[str, Held] = {}
    for file in sorted(set(weight_map.values())):
        found |= held_in_file(_inside(directory, file))
    wrong = sorted(
        name
        for name in weight_map.keys() | found.keys()
        if name not in found or name not in weight_map or found[name].file.name != weight_map[name]
    )
    if wrong:
        raise ArtefactError(f"'{index}' and the files beside it disagree on tensor '{wrong[0]}'")
    return found


def read_tensor(held: Held, name: str) -> Tensor:
    """Reads one tensor."""
    with safe_open(held.file, framework="pt") as file:
        tensor: Tensor = file.get_tensor(name)
        return tensor


def _weight_map(index: Path) -> dict[str, str]:
    try:
        if index.stat().st_size > _LARGEST_INDEX:
            raise ArtefactError(f"'{index}' is larger than any index: it is damaged")
        values = json.loads(index.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtefactError(f"'{index}' cannot be read: {error}") from error
    found = values.get("weight_map") if isinstance(values, dict) else None
    if not isinstance(found, dict) or not all(isinstance(file, str) for file in found.values()):
        raise ArtefactError(f"'{index}' has no weight_map from tensors to files: it is damaged")
    return found


def _inside(directory: Path, name: str) -> Path:
    """The path of a shard, which an index may only name inside its own directory."""
    if Path(name).name != name or not name.endswith(".safetensors"):
        raise ArtefactError(f"the index of '{directory}' names '{name}', no file beside it")
    if not (directory / name).is_file():
        raise ArtefactError(f"'{directory}' lacks shard '{name}': it is incomplete")
    return directory / name


def held_in_file(path: Path) -> dict[str, Held]:
    """Returns name -> tensor of one file.

    Raises:
        ArtefactError: it is missing or damaged.
    """
    if not path.is_file():
        raise ArtefactError(f"'{path}' does not exist")
    found = {}
    try:
        with safe_open(path, framework="pt") as file:
            for name in list(file.keys()):
                part = file.get_slice(name)
                found[name] = Held(path, tuple(part.get_shape()), part.get_dtype())
    except (SafetensorError, OSError) as error:
        raise ArtefactError(f"'{path}' is damaged: {error}") from error
    unknown = [held.dtype for held in found.values() if held.dtype not in _BYTES]
    if unknown:
        raise ArtefactError(f"'{path}' has a tensor of type {unknown[0]}, which qvlm cannot read")
    return found
