"""Write one safetensors file from tensors of many places, holding one of them at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "F32": torch.float32,
    "F64": torch.float64,
    "I64": torch.int64,
}
"""Types in the order of safetensors' own writer, which puts the last one first in a file."""


@dataclass(frozen=True)
class Source:
    """A tensor that is there when asked for.

    Attributes:
        dtype: its type.
        shape: its shape.
        load: returns it.
    """

    dtype: torch.dtype
    shape: tuple[int, ...]
    load: Callable[[], torch.Tensor]

    @property
    def nbytes(self) -> int:
        """Its bytes in the file."""
        return math.prod(self.shape) * self.dtype.itemsize


def write_joined(path: Path, sources: Mapping[str, Source], metadata: dict[str, str]) -> None:
    """Writes the same bytes as `write_tensors` would, tensor by tensor.

    Raises:
        OSError: the disk is full or the path cannot be written.
    """
    types = list(DTYPES.values())
    names = {dtype: name for name, dtype in DTYPES.items()}
    order = sorted(sources, key=lambda name: (-types.index(sources[name].dtype), name))
    header: dict[str, object] = {"__metadata__": metadata}
    offset = 0
    for name in order:
        source = sources[name]
        end = offset + source.nbytes
        header[name] = {
            "dtype": names[source.dtype],
            "shape": list(source.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in order:
            tensor = sources[name].load().cpu().contiguous().reshape(-1)
            if tensor.numel():
                file.write(tensor.view(torch.uint8).numpy().data)
