"""A run with second-order rounding: what it exports, and what it records."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import qvlm
from qvlm.artefacts.result import Result
from qvlm.artefacts.rounding import RoundingOutcome
from qvlm.artefacts.store import read_json

GPTQ = tuple(f"{tower}.weights.rounding=gptq" for tower in ("language", "projector", "vision"))
NEAREST = tuple(text.replace("gptq", "nearest") for text in GPTQ)
SMALL = ("calibration.samples=4", "calibration.batch_size=2", "search.strategy=none")


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, questions: Path
) -> dict[str, Path]:
    """Runs without guard and with it, each also rounded to nearest."""
    root = tmp_path_factory.mktemp("rounding")
    variants = {
        "gptq": (*GPTQ, "calibration.guard_fraction=0"),
        "guarded": (*GPTQ, "calibration.guard_fraction=0.5"),
        "nearest": (*NEAREST, "calibration.guard_fraction=0"),
        "nearest of half": (*NEAREST, "calibration.guard_fraction=0.5"),
    }
    for name, overrides in variants.items():
        qvlm.quantize(
            tiny_model, "w4a4-static", f"scienceqa:{questions}", root / name,
            overrides=(*SMALL, *overrides),
        )  # fmt: skip
    return {name: root / name for name in variants}


def result_of(directory: Path) -> Result:
    return read_json(directory / "result.json", Result)


def test_the_result_tells_of_the_rounding(runs: dict[str, Path]) -> None:
    result = result_of(runs["gptq"])
    stages = ["load", "observe", "dependency", "partition", "search", "round", "export"]
    assert list(result.stages) == stages
    assert result.rounding is not None
    assert result.stages["round"].seconds == result.rounding.seconds
    assert result.stages["round"].forward_equivalents == result.rounding.forward_equivalents > 2
    assert result.rounding == read_json(
        runs["gptq"] / "artefacts" / "rounding.json", RoundingOutcome
    )
    assert len(result.rounding.sites) == 2 * 4 + 2 + 3 * 4
    for site in result.rounding.sites:
        assert site.rounded_loss is not None
        assert site.nearest_loss is not None
        assert site.rounded_loss < site.nearest_loss
    parts = result.rounding.parts
    assert 0 < sum(parts.model_dump().values()) <= result.rounding.seconds


def test_nothing_is_said_where_nothing_was_rounded(runs: dict[str, Path]) -> None:
    result = result_of(runs["nearest"])
    assert result.rounding is None
    assert result.stages["round"].forward_equivalents == 0
    assert not (runs["nearest"] / "artefacts" / "rounding.json").exists()


def test_levels_differ_and_ranges_do_not(runs: dict[str, Path]) -> None:
    rounded, nearest = (load_file(runs[name] / "qvlm.safetensors") for name in ("gptq", "nearest"))
    assert rounded.keys() == nearest.keys()
    for name, tensor in rounded.items():
        assert tensor.shape == nearest[name].shape
        if name.endswith(".weight_packed"):
            assert not torch.equal(tensor, nearest[name]), name
        elif "weight_" not in name:
            assert torch.equal(tensor, nearest[name]), name


def test_the_guard_decides_which_weights_are_written(runs: dict[str, Path]) -> None:
    outcome = result_of(runs["guarded"]).rounding
    assert outcome is not None
    guard = outcome.guard
    assert guard is not None
    assert guard.samples == 2
    tensors = load_file(runs["guarded"] / "qvlm.safetensors")
    nearest = load_file(runs["nearest of half"] / "qvlm.safetensors")
    same = [
        torch.equal(tensor, nearest[name])
        for name, tensor in tensors.items()
        if name.endswith(".weight_packed")
    ]
    assert all(same) if guard.fell_back else not any(same)
