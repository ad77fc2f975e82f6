"""A reader written from docs/format.md alone, with NumPy, computes what qvlm computes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import qvlm
from tiny.golden import EXPECTED

MIXED = (
    "calibration.samples=4", "search.strategy=none", "language.weights.bits=3",
    "language.weights.symmetric=true", "projector.weights.bits=6",
    "projector.activations.granularity=per_tensor", "vision.activations.bits=7",
)  # fmt: skip


GOLDEN = Path(__file__).parents[1] / "golden/native"
"""Of format 1, written by `python tests/tiny/golden.py tests/golden/native` on 2026-11-27."""


@pytest.fixture(scope="module", params=["static", "mixed", "groups", "golden"])
def directory(request, quantized, tiny_model, questions, tmp_path_factory) -> Path:
    if request.param == "static":
        return quantized
    if request.param == "golden":
        return GOLDEN
    if request.param == "groups":
        output = tmp_path_factory.mktemp("groups") / "run"
        samples = ("calibration.samples=4",)
        qvlm.quantize(tiny_model, "w4a4", f"scienceqa:{questions}", output, overrides=samples)
        return output
    output = tmp_path_factory.mktemp("mixed") / "run"
    qvlm.quantize(tiny_model, "w4a4-static", f"scienceqa:{questions}", output, overrides=MIXED)
    return output


def test_every_layer_as_the_format_defines_it(directory):
    index = json.loads((directory / "quantization.json").read_text())
    tensors = _tensors(directory)
    model, _ = qvlm.load(directory)
    rng = np.random.default_rng(0)
    for layer in index["layers"]:
        x = rng.normal(size=(5, layer["in_features"])).astype(np.float32)
        expected = _linear(layer, tensors, x)
        with torch.no_grad():
            y = model.get_submodule(layer["path"])(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("arithmetic", ["integer", "simulated"])
def test_the_golden_checkpoint_computes_the_bits_that_it_did(arithmetic):
    model, _ = qvlm.load(GOLDEN, arithmetic)
    index = json.loads((GOLDEN / "quantization.json").read_text())
    expected = load_file(GOLDEN / EXPECTED)
    assert len(expected) == 2 * len(index["layers"]) == 32
    for layer in index["layers"]:
        with torch.no_grad():
            y = model.get_submodule(layer["path"])(expected[f"{layer['path']}.x"])
        assert torch.equal(y, expected[f"{layer['path']}.y"]), layer["path"]


def test_config_keeps_the_source_and_names_the_method(directory, tiny_model):
    config = json.loads((directory / "config.json").read_text())
    assert config.pop("quantization_config") == {"quant_method": "qvlm", "format_version": 1}
    if directory != GOLDEN:  # whose source was smaller
        assert config == json.loads((tiny_model / "config.json").read_text())


def test_processor_files_are_copies(directory, tiny_model):
    for name in ("processor_config.json", "tokenizer.json", "chat_template.jinja"):
        assert (directory / name).read_bytes() == (tiny_model / name).read_bytes()


def _tensors(directory: Path) -> dict[str, np.ndarray]:
    """All tensors; bfloat16, which NumPy lacks, as float32."""
    tensors = load_file(directory / "qvlm.safetensors")
    return {
        name: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        for name, tensor in tensors.items()
    }


def _linear(layer: dict, tensors: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    path, bits, size = layer["path"], layer["weight_bits"], layer["group_size"]
    outputs, inputs = layer["out_features"], layer["in_features"]
    levels = _unpack(tensors[f"{path}.weight_packed"], bits, inputs).astype(np.float64)
    scale = tensors[f"{path}.weight_scale"].astype(np.float64)
    if layer["symmetric"]:
        zeros = np.full(scale.shape, 2 ** (bits - 1))
    else:
        zeros = _unpack(tensors[f"{path}.weight_zero_point"], bits, inputs // size)
    weight = (levels.reshape(outputs, -1, size) - zeros[..., None]) * scale[..., None]
    product = _centred_input(layer, tensors, x) @ weight.reshape(outputs, inputs).T
    return product + tensors.get(f"{path}.bias", 0)


def _centred_input(layer: dict, tensors: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """q - z where the scale is folded into the weight, D (q - z) where it is a token's own."""
    activations = layer["activations"]
    bits = activations["bits"]
    if bits == 16:
        return x.astype(np.float64)
    top = 2**bits - 1
    if activations["granularity"].startswith("per_group"):
        groups = x.reshape(-1, layer["group_size"])
        if activations["granularity"] == "per_group_rotated":
            groups = _transformed(groups)
        per_token = layer | {"activations": activations | {"granularity": "per_token"}}
        return _centred_input(per_token, tensors, groups).reshape(x.shape)
    if activations["granularity"] == "per_token":
        low = np.minimum(x.min(axis=1, keepdims=True), np.float32(0))
        high = np.maximum(x.max(axis=1, keepdims=True), np.float32(0))
        step = (high - low) / np.float32(top)
        zero = np.clip(np.round(-low / step), 0, top)
        return (np.clip(np.round(x / step) + zero, 0, top) - zero).astype(np.float64) * step
    step = tensors[f"sites.{layer['site']}.scale"]
    zero = tensors[f"sites.{layer['site']}.zero_point"].astype(np.float32)
    return (np.clip(np.round(x / step) + zero, 0, top) - zero).astype(np.float64)


def _transformed(rows: np.ndarray) -> np.ndarray:
    """H x of every row, by float32 butterflies, the widest first."""
    rows, half = rows.copy(), rows.shape[1] // 2
    while half:
        pairs = rows.reshape(len(rows), -1, 2, half)
        first, second = pairs[:, :, 0], pairs[:, :, 1]
        rows = np.stack((first + second, first - second), axis=2).reshape(rows.shape)
        half //= 2
    return rows


def _unpack(rows: np.ndarray, bits: int, count: int) -> np.ndarray:
    """Little-endian bit stream of every row -> [rows, count] levels."""
    stream = np.unpackbits(rows, axis=1, bitorder="little")[:, : count * bits]
    return (stream.reshape(len(rows), count, bits) << np.arange(bits)).sum(axis=2)
