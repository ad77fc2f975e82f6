"""Tensors of a safetensors file, each read when it is asked for and held by nobody."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from qvlm.artefacts.joined import DTYPES, Source
from qvlm.errors import ArtefactError

_PIECE = 1 << 24
"""Bytes that are read at a time."""


class LazyTensors(Mapping[str, torch.Tensor]):
    """Name -> tensor, in memory of its own.

    Nothing is mapped: pages of a mapped file would count as memory of this process.
    """

    def __init__(self, path: Path) -> None:
        """Reads the names.

        Raises:
            ArtefactError: the file is missing or damaged.
        """
        self._path = path
        try:
            self._file = _open(path)
        except FileNotFoundError as error:
            raise ArtefactError(f"'{path}' does not exist") from error
        except (SafetensorError, OSError) as error:
            raise ArtefactError(f"'{path}' is damaged: {error}") from error
        self._names: tuple[str, ...] = tuple(self._file.keys())
        self._known = frozenset(self._names)

    @property
    def metadata(self) -> dict[str, str]:
        """The text in the file's header."""
        return dict(self._file.metadata() or {})

    def source(self, name: str) -> Source:
        """A tensor to be read later, from the same path."""
        part = self._file.get_slice(name)
        shape, dtype = tuple(part.get_shape()), DTYPES[part.get_dtype()]
        return Source(dtype, shape, lambda: LazyTensors(self._path)[name])

    def __getitem__(self, name: str) -> torch.Tensor:
        if name not in self._known:
            raise KeyError(name)
        try:
            return self._read(name)
        except (SafetensorError, OSError) as error:
            raise ArtefactError(f"'{self._path}' is damaged: {error}") from error

    def _read(self, name: str) -> torch.Tensor:
        """The tensor in PyTorch's own memory: sums depend on how memory is aligned."""
        source = self.source(name)
        if not source.shape or source.nbytes <= _PIECE:
            tensor: torch.Tensor = self._file.get_tensor(name)
            return tensor.clone()
        # In pieces, so that a large tensor is not there twice.
        whole = torch.empty(source.shape, dtype=source.dtype)
        part = self._file.get_slice(name)
        rows = max(1, _PIECE * source.shape[0] // source.nbytes)
        for start in range(0, source.shape[0], rows):
            stop = min(start + rows, source.shape[0])
            whole[start:stop] = part[start:stop]
        return whole

    def row(self, name: str, index: int) -> torch.Tensor:
        """A tensor's [index : index + 1], without reading the others.

        Raises:
            ArtefactError: the file is damaged.
        """
        try:
            part: torch.Tensor = self._file.get_slice(name)[index : index + 1]
        except (SafetensorError, OSError) as error:
            raise ArtefactError(f"'{self._path}' is damaged: {error}") from error
        return part.clone()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._known


def read_ahead(path: Path, names: Collection[str]) -> None:
    """Lets the system read some tensors of a file into its cache, while this process works on.

    They take no memory of the process. Where the system knows no such advice, nothing happens.

    Args:
        path: a safetensors file, looked at before.
        names: of its tensors.
    """
    if not hasattr(os, "posix_fadvise"):
        return
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        for name in names:
            start, stop = header[name]["data_offsets"]
            begin = 8 + size + start
            os.posix_fadvise(file.fileno(), begin, stop - start, os.POSIX_FADV_WILLNEED)


def _open(path: Path) -> Any:
    return safe_open(path, framework="pt", backend="pread")
