"""Run directories that were damaged or come from a newer qvlm: one line, exit code 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

WEIGHT = "model.language_model.layers.0.mlp.up_proj.weight_packed"


@pytest.fixture
def refuses_to_evaluate(refused, questions):
    """Calls `qvlm evaluate` on a run directory; returns the line."""

    def call(directory: Path) -> str:
        return refused("evaluate", directory, "--data", questions)

    return call


def test_weights_that_were_cut_short(refuses_to_evaluate, quantized_copy):
    path = quantized_copy / "qvlm.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "qvlm.safetensors' is damaged" in refuses_to_evaluate(quantized_copy)


def test_weights_that_are_missing(refuses_to_evaluate, quantized_copy):
    (quantized_copy / "qvlm.safetensors").unlink()
    assert "qvlm.safetensors' does not exist" in refuses_to_evaluate(quantized_copy)


@pytest.mark.parametrize(
    "name", [WEIGHT, WEIGHT.replace("packed", "scale"), "sites.language.1.attn_in.scale"]
)
def test_a_quantized_tensor_that_is_missing(
    refuses_to_evaluate, quantized_copy, edit_tensors, name
):
    edit_tensors(quantized_copy / "qvlm.safetensors", lambda tensors: tensors.pop(name))
    assert f"lacks tensor '{name}'" in refuses_to_evaluate(quantized_copy)


@pytest.mark.parametrize("name", ["lm_head.weight", "model.language_model.norm.weight"])
def test_a_float_tensor_that_is_missing(refuses_to_evaluate, quantized_copy, edit_tensors, name):
    edit_tensors(quantized_copy / "qvlm.safetensors", lambda tensors: tensors.pop(name))
    assert f"lacks tensor '{name}'" in refuses_to_evaluate(quantized_copy)


def test_a_tensor_too_many(refuses_to_evaluate, quantized_copy, edit_tensors):
    def add(tensors):
        tensors["stranger"] = tensors["lm_head.weight"].clone()

    edit_tensors(quantized_copy / "qvlm.safetensors", add)
    assert "has an unknown tensor 'stranger'" in refuses_to_evaluate(quantized_copy)


def test_a_quantized_tensor_of_another_shape(refuses_to_evaluate, quantized_copy, edit_tensors):
    def cut(tensors):
        tensors[WEIGHT] = tensors[WEIGHT][:, :-1].contiguous()

    edit_tensors(quantized_copy / "qvlm.safetensors", cut)
    assert "has shape (128, 31), expected (128, 32)" in refuses_to_evaluate(quantized_copy)


def test_a_newer_format(refuses_to_evaluate, quantized_copy):
    _edit_json(quantized_copy / "quantization.json", format_version=3)
    line = refuses_to_evaluate(quantized_copy)
    assert "has format version 3; this qvlm reads up to 2: install a newer one" in line


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_an_index_that_is_none(refuses_to_evaluate, quantized_copy, text):
    (quantized_copy / "quantization.json").write_text(text)
    assert "quantization.json' is not a" in refuses_to_evaluate(quantized_copy)


def test_a_result_that_is_missing(refuses_to_evaluate, quantized_copy):
    (quantized_copy / "result.json").unlink()
    assert "result.json' does not exist" in refuses_to_evaluate(quantized_copy)


def test_inspecting_what_is_no_run(refused, tmp_path):
    assert "is not a run of qvlm quantize" in refused("inspect", tmp_path)
    assert "model 'pico-lava' does not exist" in refused("inspect", "pico-lava")
    assert "'pico-llava' is not a run of qvlm quantize" in refused("inspect", "pico-llava")


def _edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_float_tensor_of_another_shape(refuses_to_evaluate, quantized_copy, edit_tensors):
    def cut(tensors):
        tensors["lm_head.weight"] = tensors["lm_head.weight"][:-1].contiguous()

    edit_tensors(quantized_copy / "qvlm.safetensors", cut)
    line = refuses_to_evaluate(quantized_copy)
    assert "does not fit its config.json: size mismatch for lm_head.weight" in line


def test_a_quantized_tensor_of_another_type(refuses_to_evaluate, quantized_copy, edit_tensors):
    def widen(tensors):
        tensors[WEIGHT] = tensors[WEIGHT].float()

    edit_tensors(quantized_copy / "qvlm.safetensors", widen)
    assert "has type torch.float32, expected torch.uint8" in refuses_to_evaluate(quantized_copy)


def test_an_index_without_a_group_size(refuses_to_evaluate, quantized_copy):
    path = quantized_copy / "quantization.json"
    path.write_text(path.read_text().replace('"group_size": 32', '"group_size": 0'))
    assert "layers.0.group_size" in refuses_to_evaluate(quantized_copy)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [("[]", "holds no fields"), ("{}", "describes no model"), ("{", "cannot be read")],
)
def test_a_config_that_is_none(refuses_to_evaluate, quantized_copy, text, complaint):
    (quantized_copy / "config.json").write_text(text)
    assert complaint in refuses_to_evaluate(quantized_copy)


def test_a_config_of_nonsense(refuses_to_evaluate, quantized_copy):
    _edit_json(quantized_copy / "config.json", text_config={"hidden_size": "wide"})
    assert "describes no model that can be built" in refuses_to_evaluate(quantized_copy)
