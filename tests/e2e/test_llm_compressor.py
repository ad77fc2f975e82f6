"""What llm-compressor made: read, verified, asked and timed as qvlm's own checkpoints are."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import qvlm
from qvlm.data import choose, open_source
from qvlm.data.batches import prompt_inputs
from qvlm.models import load_model
from tiny.llm_compressor import SCHEMES, compress

GOLDEN = Path(__file__).parents[1] / "golden/llm_compressor"
"""Written by `python tests/tiny/llm_compressor.py tests/golden/llm_compressor`."""
ASKED = {
    "w8a8-dynamic": "W8A8, per token",
    "w8a8-static": "W8A8, per tensor",
    "w4a16": "W4A16 g32",
}


def checks(result):
    return {check.name: check for check in result.checks}


def test_the_golden_one_has_the_weights_that_its_levels_and_scales_stand_for():
    from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32

    model, _ = qvlm.load(GOLDEN)
    stored = load_file(GOLDEN / "model.safetensors")
    name = "language_model.model.layers.0.mlp.down_proj"
    levels = unpack_from_int32(stored[f"{name}.weight_packed"], 4, torch.Size([64, 128]))
    scale = stored[f"{name}.weight_scale"].repeat_interleave(32, dim=1)
    assert torch.equal(model.model.language_model.layers[0].mlp.down_proj.weight, levels * scale)
    kept = stored["vision_tower.encoder.layers.1.mlp.fc1.weight"]
    assert torch.equal(model.model.vision_tower.encoder.layers[1].mlp.fc1.weight, kept)
    assert not hasattr(model.model.vision_tower.encoder.layers[1].mlp.fc1, "quantization_scheme")


def test_the_golden_one_is_verified_and_its_names_are_what_transformers_misses():
    result = qvlm.verify(GOLDEN)
    assert {(row.tower, row.asked, row.layers) for row in result.rows} == {
        ("language_model", "W4A16 g32", 7)
    }
    found = checks(result)
    assert found["size"].outcome == "ok"
    assert found["logits"].outcome == "not checked"
    assert found["names in Transformers"].outcome == "failed"
    assert "15 layers, first 'vision_tower.encoder" in found["names in Transformers"].detail


def test_names_that_transformers_knows_pass(tmp_path):
    copy = shutil.copytree(GOLDEN, tmp_path / "copy")
    config = json.loads((copy / "config.json").read_text())
    kept = ["re:.*lm_head", "re:.*vision_tower.*", "re:.*multi_modal_projector.*"]
    config["quantization_config"]["ignore"] = kept
    (copy / "config.json").write_text(json.dumps(config))
    assert checks(qvlm.verify(copy))["names in Transformers"].outcome == "ok"


def test_the_golden_one_is_asked_and_timed(questions):
    data = f"scienceqa:{questions}"
    scores = qvlm.evaluate(GOLDEN, data=data, limit=3)
    assert scores.overall.count == 3
    assert list(scores.kernels) == [
        "Transformers (compressed-tensors, simulated in floating point)"
    ]
    report = qvlm.bench([GOLDEN], data=data, split="test", new_tokens=2, repeat=1)
    assert [(row.form, row.scheme) for row in report.rows] == [("simulated", "W4A16")]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", SCHEMES)
def test_made_now_on_pico_llava(scheme, tmp_path):
    pytest.importorskip("llmcompressor", reason="needs qvlm[rivals]: make test-llm-compressor")
    source = load_model("pico-llava")
    chosen = choose(open_source("picoscience", "train"), 16, seed=0)
    samples = [
        prompt_inputs([sample], source.processor) for sample in chosen if sample.image is not None
    ]
    made = compress(source.directory, scheme, samples, tmp_path / "made")
    result = qvlm.verify(made)
    assert {(row.asked, row.layers) for row in result.rows} == {(ASKED[scheme], 56)}
    assert checks(result)["size"].outcome == checks(result)["answers"].outcome == "ok"
    scores = qvlm.evaluate(made, data="picoscience", split="val", limit=100)
    full = qvlm.evaluate("pico-llava", data="picoscience", split="val", limit=100)
    assert abs(scores.overall.accuracy - full.overall.accuracy) <= 5.0
    report = qvlm.bench([made], new_tokens=4, repeat=1)
    assert [row.form for row in report.rows] == ["simulated"]
