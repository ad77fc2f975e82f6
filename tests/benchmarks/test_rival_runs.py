"""One cell from model to figures, and the run that keeps its file up to date."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch
from cell import Request, measure
from methods import FULL_PRECISION
from run import run
from simulate import load_simulated

import qvlm
from qvlm.data import open_source
from qvlm.data.batches import calibration_batches
from qvlm.errors import OutputError
from qvlm.runtime import QuantizedLinear, SimulatedLinear


@pytest.fixture
def request_for(tiny_model: Path, questions: Path, tmp_path: Path):
    def build(method: str, width: str | None) -> Request:
        return Request(
            model=str(tiny_model),
            source=f"scienceqa:{questions}",
            method=method,
            width=width,
            seed=0,
            samples=8,
            split="test",
            questions=6,
            text=True,
            reference=str(tmp_path / "reference.safetensors"),
        )

    return build


def test_a_cell_quantizes_and_measures(request_for):
    full = measure(request_for(FULL_PRECISION, None))
    figures = measure(request_for("ZeroQuant-V2", "w4a4"))
    assert figures["levels"] == {"weights": 16, "activations": 16, "linears": 21}
    assert figures["kl"] > 0
    assert figures["checkpoint"] == "computed from bits"
    assert figures["checkpoint_bytes"] < 0.5 * full["checkpoint_bytes"]
    assert figures["text"]["text"] == full["text"]["text"]
    assert figures["text"]["tokens"] == 16 * 511
    assert list(figures["columns"])[-1] == "Avg"
    assert figures["quantize_seconds"] > 0
    assert figures["quantize_cpu_seconds"] > 0


def test_a_preset_is_measured_from_what_it_saved(request_for):
    measure(request_for(FULL_PRECISION, None))
    figures = measure(request_for("qvlm RTN static", "w4a4"))
    assert figures["checkpoint"] == "saved"
    assert 12 <= figures["levels"]["weights"] <= 16
    assert 12 <= figures["levels"]["activations"] <= 16
    assert figures["kl"] > 0


@torch.no_grad()
def test_a_saved_model_is_simulated_as_it_runs(quantized: Path, questions: Path):
    integer, processor = qvlm.load(quantized)
    simulated = load_simulated(quantized)
    batch = calibration_batches(open_source(f"scienceqa:{questions}", "test"), processor, 2)[0]
    expected = integer(**batch.inputs).logits
    torch.testing.assert_close(simulated(**batch.inputs).logits, expected, rtol=1e-3, atol=1e-3)
    kinds = {type(module) for module in simulated.modules()}
    assert SimulatedLinear in kinds
    assert QuantizedLinear not in kinds


def arguments(model: Path, data: Path, output: Path, **changes) -> argparse.Namespace:
    values = {
        "model": str(model),
        "source": f"scienceqa:{data}",
        "methods": ["qvlm layer-wise"],
        "widths": ["w4a16"],
        "seeds": [0],
        "samples": 8,
        "split": "test",
        "questions": 4,
        "text": False,
        "output": output,
    }
    return argparse.Namespace(**(values | changes))


def test_a_run_keeps_what_it_has(tiny_model, questions, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    output = tmp_path / "results.json"
    assert run(arguments(tiny_model, questions, output)) == 0
    record = json.loads(output.read_text())
    cell = record["cells"]["qvlm layer-wise"]["w4a16"]["0"]
    assert "no range to search" in cell["not_applicable"]
    assert record["full precision"]["columns"]["Avg"] is not None
    capsys.readouterr()
    assert run(arguments(tiny_model, questions, output)) == 0
    assert capsys.readouterr().out == ""
    with pytest.raises(OutputError, match="holds questions 4, not 5: choose another file"):
        run(arguments(tiny_model, questions, output, questions=5))
    output.write_text("{")
    with pytest.raises(OutputError, match=r"is no JSON .*: choose another file"):
        run(arguments(tiny_model, questions, output))
