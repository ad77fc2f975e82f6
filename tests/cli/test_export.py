"""`qvlm export`, `qvlm verify` and `quantize --format`, from the command line."""

from __future__ import annotations

import json
import re

import torch


def test_quantize_straight_into_the_format(qvlm, tiny_model, questions, tmp_path):
    output = tmp_path / "served"
    done = qvlm(
        "quantize", tiny_model, "--recipe", "w8a8-dynamic", "--format", "compressed-tensors",
        "--calibration", f"scienceqa:{questions}", "--output", output, "--no-verify",
        "--set", "calibration.samples=4",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    assert (output / "model.safetensors").is_file()
    assert (output / "run/qvlm.safetensors").is_file()
    assert json.loads((output / "export.json").read_text())["run"] == "run"
    checked = qvlm("verify", output)
    assert "W8A8Int8" in checked.stdout.replace("\n", "")
    assert "ok: logits: Transformers and the native run" in checked.stdout


def test_what_the_format_cannot_say_is_found_before_the_work(refused, tiny_model, tmp_path):
    for recipe, complaint in {
        "w4a4": "has a range per token and group|zero points",
        "w8a8-dynamic --set language.weights.bits=4": "default kernels do not round activations",
        "w8a8-static --set projector.activations.granularity=per_channel": "nothing before it",
    }.items():
        # The calibration data is not looked for: there is none.
        line = refused(
            "quantize", tiny_model, "--recipe", *recipe.split(), "--format", "compressed-tensors",
            "--calibration", f"scienceqa:{tmp_path / 'none'}", "--output", tmp_path / "out",
        )  # fmt: skip
        assert re.search(complaint, line), line


def test_an_unknown_format(refused, tiny_model, quantized, tmp_path):
    line = refused("quantize", tiny_model, "--format", "compressed", "--output", tmp_path / "out")
    assert "format 'compressed' is unknown (did you mean 'compressed-tensors'?)" in line
    line = refused("export", quantized, "--format", "gguf", "--output", tmp_path / "out")
    assert "use qvlm or compressed-tensors" in line


def test_what_the_format_cannot_say(refused, quantized, tmp_path):
    line = refused("export", quantized, "--output", tmp_path / "out")
    assert "cannot be exported" in line
    assert "--set" in line


def test_only_runs_are_exported(refused, tiny_model, tmp_path):
    line = refused("export", tiny_model, "--output", tmp_path / "out")
    assert "is not a run of qvlm quantize" in line


def test_a_run_to_compare_with_that_is_not_there(refused, quantized, tmp_path):
    line = refused("verify", quantized, "--run", tmp_path / "gone")
    assert "gone' does not exist" in line


def test_verify_exits_with_1_where_a_check_fails(qvlm, quantized_copy, edit_tensors):
    def silence(tensors):
        tensors["lm_head.weight"] = torch.zeros_like(tensors["lm_head.weight"])

    edit_tensors(quantized_copy / "qvlm.safetensors", silence)
    done = qvlm("verify", quantized_copy, "--json")
    assert done.code == 1
    result = json.loads(done.stdout[done.stdout.index("{") :])
    assert [one["name"] for one in result["checks"] if one["outcome"] == "failed"] == ["answers"]
