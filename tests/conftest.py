"""One tiny model, one tiny data set and one quantized run for the tests that need files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tiny.hub import Hub

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Read when Triton is imported: without a GPU its kernels run in its interpreter, on the CPU.
os.environ.setdefault("TRITON_INTERPRET", "0" if Path("/dev/nvidiactl").exists() else "1")

SMALL = ("calibration.samples=4", "calibration.batch_size=2")
"""Overrides that keep a run on the tiny model short."""


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved LLaVA of random weights; not to be changed (see `model_copy`)."""
    from tiny.llava import save_llava, tiny_llava

    return save_llava(tmp_path_factory.mktemp("tiny") / "model", *tiny_llava())


@pytest.fixture(scope="session")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ScienceQA folder with 8 training and 6 test questions; not to be changed."""
    from tiny.scienceqa import write_scienceqa

    return write_scienceqa(tmp_path_factory.mktemp("scienceqa"), train=8)


@pytest.fixture(scope="session")
def quantized(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, questions: Path) -> Path:
    """A searched W4A4 run directory of the tiny model; not to be changed."""
    import qvlm

    output = tmp_path_factory.mktemp("quantized") / "w4a4"
    overrides = (*SMALL, "search.strategy=coordinate", "search.start=lp", "search.budget=6")
    qvlm.quantize(tiny_model, "w4a4-static", f"scienceqa:{questions}", output, overrides=overrides)
    return output


@pytest.fixture
def model_copy(tmp_path: Path, tiny_model: Path) -> Path:
    """A copy of the tiny model that a test may damage."""
    return shutil.copytree(tiny_model, tmp_path / "model")


@pytest.fixture
def questions_copy(tmp_path: Path, questions: Path) -> Path:
    """A copy of the questions that a test may damage."""
    return shutil.copytree(questions, tmp_path / "questions")


@pytest.fixture
def quantized_copy(tmp_path: Path, quantized: Path) -> Path:
    """A copy of the run directory that a test may damage."""
    return shutil.copytree(quantized, tmp_path / "run")


@pytest.fixture
def edit_tensors() -> Callable[[Path, Callable[[dict], None]], None]:
    """Rewrites a safetensors file through a function that changes its dictionary of tensors."""
    from safetensors.torch import load_file, save_file

    def edit(path: Path, change: Callable[[dict], None]) -> None:
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path, metadata={"format": "pt"})

    return edit


@pytest.fixture
def hub(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with the model `tiny/llava`, and an empty cache."""
    from huggingface_hub import close_session, constants

    from tiny.hub import Hub, serving

    with serving(Hub({"tiny/llava": tiny_model})) as served:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", served.url)
        template = "{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{served.url}/{template}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        close_session()
        yield served
    close_session()
