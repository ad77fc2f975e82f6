"""`qvlm verify`: what it sees in good checkpoints, in broken ones, and in those of others."""

from __future__ import annotations

import importlib
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

import qvlm
from qvlm import pipeline
from qvlm.errors import QvlmError
from qvlm.evaluation.broken import broken_reason
from qvlm.pipeline.noise import noisy_embeddings
from qvlm.runtime import QuantizedLinear
from tiny.exports import quantized_run
from tiny.llava import save_llava, tiny_llava

verification = importlib.import_module("qvlm.pipeline.verify")
"""The module; the package names its function."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path, questions: Path) -> Path:
    """An exported W8A8 checkpoint; not to be changed."""
    folder = tmp_path_factory.mktemp("exported")
    quantized_run(tiny_model, questions, folder / "run", "w8a8-static")
    pipeline.export(folder / "run", folder / "served")
    return folder / "served"


def outcomes(result):
    return {check.name: check.outcome for check in result.checks}


def test_a_native_run_gives_the_same_numbers_both_ways(quantized):
    result = qvlm.verify(quantized)
    assert outcomes(result)["size"] == outcomes(result)["logits"] == "ok"
    logits = next(check for check in result.checks if check.name == "logits")
    assert "largest difference 0," in logits.detail
    assert {row.vllm for row in result.rows} == {"refuses it: export it"}
    assert sum(row.layers for row in result.rows) == 35


@pytest.mark.parametrize("recipe", ["w4a4", "w8a8-static"])
def test_an_output_layer_tied_to_the_embeddings_is_counted_once(recipe, questions, tmp_path):
    model = save_llava(tmp_path / "model", *tiny_llava(tied=True))
    run = quantized_run(model, questions, tmp_path / "run", recipe)
    assert outcomes(qvlm.verify(run))["size"] == "ok"
    if recipe == "w8a8-static":
        pipeline.export(run, tmp_path / "exported")
        assert set(outcomes(qvlm.verify(tmp_path / "exported")).values()) == {"ok"}


def test_ranges_per_group_are_compared_linear_by_linear(
    tiny_model, questions, tmp_path, monkeypatch
):
    run = quantized_run(tiny_model, questions, tmp_path / "run", "w4a4")
    result = qvlm.verify(run)
    assert outcomes(result)["linears"] == outcomes(result)["logits"] == "ok", result.checks
    packed = QuantizedLinear._packed

    def wrong_in_kernels(self, weight):
        tensors = packed(self, weight)
        if self.kernel != "torch":
            tensors["scale"] = 2 * tensors["scale"]
        return tensors

    monkeypatch.setattr(QuantizedLinear, "_packed", wrong_in_kernels)
    assert outcomes(qvlm.verify(run))["linears"] == "failed"


def test_an_export_is_compared_with_its_run(exported):
    result = qvlm.verify(exported, record=True)
    assert outcomes(result)["size"] == "ok"
    assert outcomes(result)["names in vLLM"] == "ok"
    assert outcomes(result)["logits"] == "ok", result.checks
    # The language model's ranges are static.
    assert {row.vllm for row in result.rows} == {
        "W8A8Int8, integers", "W8A8Int8, integers (CPU with AMX: ranges per token)",
    }  # fmt: skip
    assert all(8 < row.bits_per_weight < 9 for row in result.rows)
    assert len(result.bits) == 35
    # 64 x 128 levels of 8 bits, 64 scales of 32 and one of the input.
    down = result.bits["model.language_model.layers.0.mlp.down_proj"]
    assert down == round(8 + 32 * 65 / (64 * 128), 4)
    recorded = json.loads((exported / "verification.json").read_text())
    assert recorded["format"] == "compressed-tensors"


def test_a_scale_that_was_changed_shows_in_the_logits(exported, tmp_path):
    copy = shutil.copytree(exported, tmp_path / "served")
    tensors = load_file(copy / "model.safetensors")
    tensors["language_model.model.layers.0.mlp.down_proj.weight_scale"] *= 1.5
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    assert outcomes(qvlm.verify(copy))["logits"] == "failed"


def test_an_export_may_move_as_far_as_the_last_bits_of_its_inputs_move_it(exported, monkeypatch):
    monkeypatch.setattr(verification, "tolerance_of", lambda _found: 0.0)
    check = next(check for check in qvlm.verify(exported).checks if check.name == "logits")
    said = re.search(
        r"relative (\S+) \(tolerance (\S+); the last bits .* move it (\S+)\)", check.detail
    )
    relative, tolerance, by_noise = map(float, said.groups())
    assert 0 < by_noise == pytest.approx(tolerance / 2, rel=0.05)
    assert check.outcome == ("ok" if relative <= tolerance else "failed")


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 1e-6), (torch.bfloat16, 2.0**-7)])
def test_noise_is_a_millionth_or_the_last_bit_and_ends(tiny_model, dtype, size):
    model = AutoModelForImageTextToText.from_pretrained(tiny_model, dtype=dtype)
    embeddings, tokens = model.get_input_embeddings(), torch.arange(1, 100)
    exact = embeddings(tokens)
    with noisy_embeddings(model):
        changed = embeddings(tokens)
    steps = (changed.float() / exact.float() - 1).detach().abs()
    assert size / 2 < float(steps.max()) < 1.5 * size
    assert torch.equal(embeddings(tokens), exact)


def test_a_run_that_is_gone_is_said(exported, tmp_path):
    copy = shutil.copytree(exported, tmp_path / "served")
    report = json.loads((copy / "export.json").read_text())
    (copy / "export.json").write_text(json.dumps({**report, "run": str(tmp_path / "gone")}))
    check = next(check for check in qvlm.verify(copy).checks if check.name == "logits")
    assert check.outcome == "not checked"
    assert "gone' that it was made from is not there: pass --run" in check.detail


def test_names_that_vllm_reads_otherwise_fail(exported, tmp_path):
    copy = shutil.copytree(exported, tmp_path / "served")
    config = json.loads((copy / "config.json").read_text())
    groups = config["quantization_config"]["config_groups"]
    groups["group_1"]["targets"] = ["re:model[.]language_model[.].*_proj$"]
    (copy / "config.json").write_text(json.dumps(config))
    result = qvlm.verify(copy)
    assert outcomes(result)["names in vLLM"] == "failed"
    assert result.failed


def test_what_is_not_quantized_is_refused(tiny_model):
    with pytest.raises(QvlmError, match="is no quantized checkpoint"):
        qvlm.verify(tiny_model)


def test_checkpoints_of_others_are_read(tiny_model, questions, tmp_path):
    """Made with compressed-tensors' own API; llm-compressor's are in tests/e2e."""
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config

    model = AutoModelForImageTextToText.from_pretrained(tiny_model)
    scheme = {
        "targets": ["Linear"],
        "weights": {"num_bits": 8, "strategy": "channel", "symmetric": True},
        "input_activations": {
            "num_bits": 8, "strategy": "token", "symmetric": True, "dynamic": True,
        },
    }  # fmt: skip
    config = QuantizationConfig(
        config_groups={"group_0": scheme}, ignore=["lm_head", "re:.*vision_tower.*"]
    )
    apply_quantization_config(model, config, show_progress=False)
    for part in model.modules():
        if hasattr(part, "weight_scale"):
            largest = part.weight.detach().abs().amax(dim=1, keepdim=True)
            part.weight_scale.data.copy_(largest / 127)
    compressor = ModelCompressor.from_pretrained_model(model)
    compressor.compress_model(model)
    model.save_pretrained(tmp_path / "other")
    compressor.update_config(str(tmp_path / "other"))
    for file in tiny_model.iterdir():
        if not (tmp_path / "other" / file.name).exists() and "safetensors" not in file.name:
            shutil.copyfile(file, tmp_path / "other" / file.name)

    # The library lists what it left alone by names of the files, which Transformers does not find.
    result = qvlm.verify(tmp_path / "other")
    assert {row.asked for row in result.rows} == {"W8A8, per token"}
    assert sum(row.layers for row in result.rows) == 23
    assert outcomes(result)["size"] == "ok"
    assert outcomes(result)["logits"] == "not checked"
    assert outcomes(result)["names in Transformers"] == "failed"
    # It keeps the names of Transformers 5 for the vision tower, which vLLM does not find.
    assert outcomes(result)["names in vLLM"] == "failed"
    scores = qvlm.evaluate(tmp_path / "other", data=f"scienceqa:{questions}", limit=2)
    assert list(scores.kernels.values()) == [23]
    assert "simulated in floating point" in next(iter(scores.kernels))
    loaded, _ = qvlm.load(tmp_path / "other")
    assert torch.equal(
        loaded.model.multi_modal_projector.linear_1.weight,
        model.model.multi_modal_projector.linear_1.weight.float()
        * model.model.multi_modal_projector.linear_1.weight_scale,
    )


@pytest.mark.parametrize(
    ("answer", "pieces", "reason"),
    [
        (" ", [], "is empty"),
        ("!!!!!!!!", [0] * 8, "is '!!!!!!!!'"),
        ("the the the the the the the the", [5] * 8, "repeats itself"),
        ("B", [7], None),
        ("two red cubes and a blue ball on it", [1, 2, 3, 4, 5, 6, 7, 8, 9], None),
    ],
)
def test_broken_answers(answer, pieces, reason):
    found = broken_reason(answer, pieces)
    assert (found is None) == (reason is None)
    assert reason is None or reason in found
