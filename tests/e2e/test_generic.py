"""`--adapter generic` from the command line to a checkpoint, for an unlisted model type."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import qvlm
from qvlm.artefacts.result import Result
from qvlm.artefacts.store import read_json
from qvlm.cli.main import app
from qvlm.models.registry import ADAPTERS
from tiny.llava import save_llava, tiny_llava

SHORT = ("calibration.samples=4", "calibration.batch_size=2", "search.strategy=none")


@pytest.fixture
def unlisted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A saved LLaVA, in a qvlm that has no adapter for it."""
    monkeypatch.delitem(ADAPTERS, "llava")
    return save_llava(tmp_path / "model", *tiny_llava())


def test_an_unlisted_model_is_quantized_and_the_result_says_what_was_found(
    unlisted: Path, tmp_path: Path, questions: Path
) -> None:
    words = [f"--set={override}" for override in SHORT]
    command = ["quantize", str(unlisted), "--recipe", "w4a4", "--calibration"]
    command += [f"scienceqa:{questions}", "--output", str(tmp_path / "run"), *words]
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code != 0
    done = CliRunner().invoke(app, [*command, "--adapter", "generic"], catch_exceptions=False)
    assert done.exit_code == 0
    result = read_json(tmp_path / "run" / "result.json", Result)
    assert result.recipe["adapter"] == "generic"
    found = [line for line in result.warnings if line.startswith("adapter generic: ")]
    assert [line.split()[2] for line in found] == ["vision", "projector", "language", "head"]
    model, _ = qvlm.load(tmp_path / "run")
    assert len(result.layers) == 3 * 6 + 2 + 3 * 7  # it cannot know that a layer is not read
    assert model is not None
