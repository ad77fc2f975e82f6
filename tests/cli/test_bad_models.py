"""Models that cannot be quantized: one clear line, exit code 2, nothing written."""

from __future__ import annotations

import json

import pytest
import torch


def test_a_model_that_does_not_exist(refuses_to_quantize, tmp_path):
    line = refuses_to_quantize(model=tmp_path / "nowhere")
    assert "does not exist" in line
    assert "pico-llava" in line


def test_a_hub_id_that_cannot_be_reached(refuses_to_quantize):
    line = refuses_to_quantize(model="no-such-org/no-such-model")
    assert "'no-such-org/no-such-model'" in line


def test_a_name_that_the_hub_does_not_know(refuses_to_quantize, hub):
    line = refuses_to_quantize(model="runs/pico-q4")
    assert "'runs/pico-q4' is neither a directory here nor a model on the hub" in line


@pytest.mark.parametrize("method", ["awq", "bitsandbytes", "fp8", None])
def test_a_model_that_others_quantized(refuses_to_quantize, model_copy, method):
    path = model_copy / "config.json"
    config = json.loads(path.read_text())
    config["quantization_config"] = {"quant_method": method} if method else {"load_in_4bit": True}
    path.write_text(json.dumps(config))
    line = refuses_to_quantize(model=model_copy)
    assert f"is quantized already ({method or 'method unnamed'})" in line


def test_a_file_in_place_of_a_directory(refuses_to_quantize, tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF")
    assert "is a file" in refuses_to_quantize(model=path)


def test_a_directory_without_config(refuses_to_quantize, tmp_path):
    path = tmp_path / "empty"
    path.mkdir()
    assert "has no config.json" in refuses_to_quantize(model=path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '"llava"', "\x00"])
def test_a_config_that_is_none(refuses_to_quantize, model_copy, text):
    (model_copy / "config.json").write_text(text)
    assert "is not a model's config" in refuses_to_quantize(model=model_copy)


def test_a_language_model(refuses_to_quantize, model_copy):
    (model_copy / "config.json").write_text(json.dumps({"model_type": "llama"}))
    line = refuses_to_quantize(model=model_copy)
    assert "'llama' is not a vision-language model" in line
    assert "supported: " in line
    assert "add-an-architecture.md" in line


def test_an_architecture_with_a_similar_name(refuses_to_quantize, model_copy):
    (model_copy / "config.json").write_text(json.dumps({"model_type": "lava"}))
    assert "did you mean 'llava'?" in refuses_to_quantize(model=model_copy)


def test_a_model_without_processor(refuses_to_quantize, model_copy):
    (model_copy / "processor_config.json").unlink()
    (model_copy / "tokenizer_config.json").unlink()
    assert "has no usable processor" in refuses_to_quantize(model=model_copy)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite(refuses_to_quantize, model_copy, edit_tensors, value):
    name = "model.language_model.layers.1.mlp.down_proj.weight"
    path = model_copy / "model.safetensors"

    def damage(tensors: dict[str, torch.Tensor]) -> None:
        stored = next(key for key in tensors if key.endswith("layers.1.mlp.down_proj.weight"))
        tensors[stored][3, 5] = value

    edit_tensors(path, damage)
    line = refuses_to_quantize(model=model_copy)
    assert f"'{name}' holds NaN or infinite values" in line


def test_weights_that_are_missing(refuses_to_quantize, model_copy, edit_tensors):
    def damage(tensors: dict[str, torch.Tensor]) -> None:
        for key in [key for key in tensors if "layers.2.mlp" in key and "vision" not in key]:
            del tensors[key]

    edit_tensors(model_copy / "model.safetensors", damage)
    line = refuses_to_quantize(model=model_copy)
    assert "lacks 3 weights" in line
    assert "layers.2.mlp.down_proj.weight" in line


def test_weights_of_another_shape(refuses_to_quantize, model_copy, edit_tensors):
    def damage(tensors: dict[str, torch.Tensor]) -> None:
        key = next(key for key in tensors if key.endswith("layers.1.mlp.down_proj.weight"))
        tensors[key] = tensors[key][:, :-1].contiguous()

    edit_tensors(model_copy / "model.safetensors", damage)
    assert "cannot load model" in refuses_to_quantize(model=model_copy)


def test_a_weights_file_that_was_cut_short(refuses_to_quantize, model_copy):
    path = model_copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert "cannot load model" in refuses_to_quantize(model=model_copy)


def test_pickled_weights_are_never_opened(refuses_to_quantize, model_copy):
    weights = model_copy / "model.safetensors"
    (model_copy / "pytorch_model.bin").write_bytes(_bomb(model_copy / "exploded"))
    weights.unlink()
    line = refuses_to_quantize(model=model_copy)
    assert "safetensors" in line
    assert not (model_copy / "exploded").exists()


def test_a_quantized_run_is_not_quantized_again(refuses_to_quantize, quantized):
    assert "is quantized already" in refuses_to_quantize(model=quantized)


def _bomb(marker) -> bytes:
    """A pickle that creates a file when it is opened."""
    import pickle

    class Bomb:
        def __reduce__(self):
            return (marker.touch, ())

    return pickle.dumps(Bomb())
