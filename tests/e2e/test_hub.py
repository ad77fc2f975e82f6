"""From a name on the hub to answers: models that are quantized, and runs that were uploaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import qvlm
from conftest import SMALL
from qvlm.cli.main import app
from qvlm.errors import ArtefactError, DataError, ModelError
from qvlm.pipeline import estimate, export
from tiny.hub import COMMIT, Hub

GIB = 1 << 30


@pytest.mark.parametrize("memory", [None, GIB])
def test_a_model_of_the_hub_is_quantized_as_one_on_disk(
    hub: Hub, tiny_model: Path, questions: Path, tmp_path: Path, memory: int | None
) -> None:
    data = f"scienceqa:{questions}"
    told: list[str] = []
    result = qvlm.quantize(
        "tiny/llava@v1",
        "w4a4",
        data,
        tmp_path / "hub",
        overrides=SMALL,
        memory=memory,
        progress=lambda stage, done, total, note="": told.append(stage),
    )
    assert (result.model, result.commit) == ("tiny/llava@v1", COMMIT)
    qvlm.quantize(tiny_model, "w4a4", data, tmp_path / "disk", overrides=SMALL)
    for name in ("qvlm.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"):
        assert (tmp_path / "hub" / name).read_bytes() == (tmp_path / "disk" / name).read_bytes()
        assert not (tmp_path / "hub" / name).is_symlink()


def test_a_dry_run_downloads_no_weights(hub: Hub, questions: Path) -> None:
    estimate("tiny/llava", "w4a4", f"scienceqa:{questions}", overrides=SMALL)
    assert "config.json" in hub.sent
    assert "model.safetensors" not in hub.sent


def test_a_run_on_the_hub_is_loaded_evaluated_and_verified(
    hub: Hub, quantized: Path, questions: Path
) -> None:
    hub.directories["tiny/quantized"] = quantized
    model, _ = qvlm.load("tiny/quantized")
    expected, _ = qvlm.load(quantized)
    names = dict(expected.named_buffers())
    assert all(torch.equal(value, names[name]) for name, value in model.named_buffers())
    data = f"scienceqa:{questions}"
    there = qvlm.evaluate("tiny/quantized", data=data, split="test")
    here = qvlm.evaluate(quantized, data=data, split="test")
    assert there.model == here.model
    with pytest.raises(ModelError, match="is quantized already"):
        qvlm.quantize("tiny/quantized", "w4a4", data, overrides=SMALL)
    done = CliRunner().invoke(app, ["verify", "tiny/quantized", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["format"] == "qvlm"


def test_what_was_calibrated_on_is_known_of_a_run_on_the_hub(
    hub: Hub, quantized: Path, questions: Path
) -> None:
    hub.directories["tiny/quantized"] = quantized
    with pytest.raises(DataError, match="calibrat"):
        qvlm.evaluate("tiny/quantized", data=f"scienceqa:{questions}", split="train")


def test_a_run_on_the_hub_is_inspected_without_weights(hub: Hub, quantized: Path) -> None:
    hub.directories["tiny/quantized"] = quantized
    done = CliRunner().invoke(app, ["inspect", "tiny/quantized", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == json.loads((quantized / "result.json").read_text())
    assert "result.json" in hub.sent
    assert "qvlm.safetensors" not in hub.sent


def test_a_run_on_the_hub_is_exported_and_verified_against(
    hub: Hub, questions: Path, tiny_model: Path, tmp_path: Path
) -> None:
    run, served = tmp_path / "run", tmp_path / "served"
    qvlm.quantize(tiny_model, "w8a8-dynamic", f"scienceqa:{questions}", run, overrides=SMALL)
    hub.directories["tiny/quantized"] = run
    done = CliRunner().invoke(app, ["export", "tiny/quantized", "--output", str(served)])
    assert done.exit_code == 0, done.output
    assert "ok: logits: Transformers and the native run" in done.stdout
    export(run, tmp_path / "here")
    written = (served / "model.safetensors").read_bytes()
    assert written == (tmp_path / "here" / "model.safetensors").read_bytes()
    # It names a run on the hub, which the cache still holds when the hub is gone.
    hub.directories.clear()
    outcomes = {check.name: check.outcome for check in qvlm.verify(served).checks}
    assert outcomes["logits"] == "ok"


@pytest.mark.parametrize(
    "verb", [["export", "--output", "out"], ["verify"], ["verify", "tiny/quantized", "--run"]]
)
def test_what_is_no_run_is_refused_before_its_weights_are_downloaded(
    hub: Hub, quantized: Path, verb: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    hub.directories["tiny/quantized"] = quantized
    done = CliRunner().invoke(app, [*verb, "tiny/llava"])
    assert isinstance(done.exception, ArtefactError)
    assert "'tiny/llava' is no" in str(done.exception)
    assert "config.json" in hub.sent
    assert not [name for name in hub.sent if name.endswith(".safetensors")]


def test_a_model_card_names_the_model_that_it_was_made_of(
    hub: Hub, questions: Path, tmp_path: Path
) -> None:
    data = f"scienceqa:{questions}"
    qvlm.quantize("tiny/llava@v1", "w8a8-dynamic", data, tmp_path / "run", overrides=SMALL)
    export(tmp_path / "run", tmp_path / "served")
    card = (tmp_path / "served" / "README.md").read_text()
    assert "base_model: tiny/llava\n" in card
    assert f"at commit `{COMMIT}`" in card
