"""One exported checkpoint for the tests that read or damage it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from qvlm import pipeline
from tiny.exports import quantized_run


@pytest.fixture(scope="session")
def static_run(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, questions: Path) -> Path:
    """A W8A8 run with symmetric static ranges per channel; not to be changed."""
    output = tmp_path_factory.mktemp("static") / "run"
    return quantized_run(tiny_model, questions, output, "w8a8-static")


@pytest.fixture(scope="session")
def packed(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, questions: Path) -> Path:
    """An exported W4A16 checkpoint in several shards; not to be changed."""
    folder = tmp_path_factory.mktemp("packed")
    run = quantized_run(tiny_model, questions, folder / "run", "w4a16-symmetric")
    pipeline.export(run, folder / "exported", max_shard_bytes=100_000)
    return folder / "exported"


@pytest.fixture
def packed_copy(tmp_path: Path, packed: Path) -> Path:
    """A copy of it that a test may damage."""
    return shutil.copytree(packed, tmp_path / "exported")
