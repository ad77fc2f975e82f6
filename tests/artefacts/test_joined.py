"""A file written tensor by tensor has the bytes of the library's own writer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from qvlm.artefacts import lazy
from qvlm.artefacts.joined import DTYPES, Source, write_joined
from qvlm.artefacts.lazy import LazyTensors
from qvlm.artefacts.tensors import write_tensors


def test_the_same_bytes_as_the_library(tmp_path: Path) -> None:
    tensors = {
        f"{name} of {dtype}": torch.arange(6).reshape(shape).to(dtype)
        for dtype in DTYPES.values()
        for name, shape in (("b", (2, 3)), ("a", (6,)), ('é "quoted"', (1, 6)))
    }
    tensors |= {"scalar": torch.tensor(1.5), "empty": torch.zeros(0, 4)}
    tensors["turned"] = torch.arange(6.0).reshape(2, 3).t()
    write_tensors(tmp_path / "library", tensors, {"format": "pt"})
    sources = {
        name: Source(tensor.dtype, tuple(tensor.shape), lambda tensor=tensor: tensor)
        for name, tensor in tensors.items()
    }
    write_joined(tmp_path / "joined", sources, {"format": "pt"})
    assert (tmp_path / "joined").read_bytes() == (tmp_path / "library").read_bytes()
    read = LazyTensors(tmp_path / "joined")
    assert set(read) == set(tensors)
    for name, tensor in tensors.items():
        assert torch.equal(read[name], tensor), name
        assert read[name].data_ptr() % 64 == 0 or not tensor.numel()
        source = read.source(name)
        assert (source.dtype, source.shape) == (tensor.dtype, tuple(tensor.shape))


def test_large_tensors_are_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = torch.randn(37, 5)
    write_tensors(tmp_path / "file", {"x": tensor}, {})
    monkeypatch.setattr(lazy, "_PIECE", 64)
    assert torch.equal(LazyTensors(tmp_path / "file")["x"], tensor)
