"""`bench` on the tiny model: full precision and a quantized run side by side."""

from __future__ import annotations

import importlib
import json
import shutil

import pytest

import qvlm
from qvlm.artefacts.speed import SpeedReport
from qvlm.artefacts.store import read_json
from qvlm.errors import ArtefactError, DataError, OutputError, QvlmError


@pytest.fixture(scope="module")
def report(tiny_model, quantized, questions, tmp_path_factory):
    output = tmp_path_factory.mktemp("bench") / "speed"
    found = qvlm.bench(
        [tiny_model, quantized], output, data=f"scienceqa:{questions}", split="test",
        new_tokens=3, repeat=2, forms=("float32", "integer"),
    )  # fmt: skip
    return output, found


def test_every_model_runs_in_the_forms_that_fit_it(report):
    _, found = report
    assert [(row.form, row.scheme) for row in found.rows] == [
        ("float32", "FP"),
        ("integer", "W4A4"),
    ]
    full, packed = found.rows
    assert packed.weight_bytes < full.weight_bytes
    assert full.prompt_tokens == packed.prompt_tokens > full.image_tokens == 16
    for row in found.rows:
        assert len(row.first_token_seconds) == len(row.answer_seconds) == 2
        assert 0 < row.time_to_first_token < sum(row.answer_seconds)
        assert row.peak_rss_bytes > row.weight_bytes


def test_the_report_is_written_for_programs_and_people(report):
    output, found = report
    assert read_json(output / "speed.json", SpeedReport) == found
    assert json.loads((output / "speed.json").read_text())["machine"]["threads"]
    text = (output / "speed.md").read_text()
    assert "| w4a4 W4A4 | integer |" in text
    for name in ("memory", "first-token", "decode"):
        assert (output / f"speed-{name}.png").is_file()
        assert (output / f"speed-{name}.svg").is_file()


def test_an_existing_output_is_refused_before_anything_runs(tiny_model, questions, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match="exists: choose another, or pass --overwrite"):
        qvlm.bench([tiny_model], tmp_path / "out", data=f"scienceqa:{questions}", split="test")


def test_its_own_output_can_be_replaced(report, quantized, questions, tmp_path):
    output = shutil.copytree(report[0], tmp_path / "out")
    found = qvlm.bench(
        [quantized], output, data=f"scienceqa:{questions}", split="test", new_tokens=2, repeat=1,
        forms=("integer",), overwrite=True,
    )  # fmt: skip
    assert read_json(output / "speed.json", SpeedReport) == found


def test_a_damaged_run_is_one_clear_error(quantized_copy, questions):
    (quantized_copy / "qvlm.safetensors").write_bytes(b"damaged")
    with pytest.raises(ArtefactError, match=r"qvlm\.safetensors"):
        qvlm.bench([quantized_copy], data=f"scienceqa:{questions}", split="test")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"forms": ("integer",)}, QvlmError, "runs in float32 or bfloat16: none of these"),
        ({"new_tokens": 1}, QvlmError, "1 new tokens leave nothing to decode"),
        ({"data": "nowhere"}, DataError, "nowhere"),
    ],
)
def test_what_cannot_be_measured_is_said_at_once(tiny_model, arguments, error, message):
    with pytest.raises(error, match=message):
        qvlm.bench([tiny_model], **arguments)


def test_fallback_is_handed_to_the_loader(monkeypatch):
    bench = importlib.import_module("qvlm.pipeline.bench")
    asked = []
    monkeypatch.setattr(bench, "load", lambda *args, **kwargs: asked.append((args, kwargs)))
    for allowed in (False, True):
        bench._loaded("run", "integer", "auto", allowed)
    assert asked == [(("run", "integer"), {"allow_fallback": allowed}) for allowed in (False, True)]
