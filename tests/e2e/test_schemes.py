"""Every scheme end to end: quantize, save, load, run; bits as asked and bytes as documented."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import qvlm
from qvlm.data import open_source
from qvlm.data.batches import calibration_batches

STATIC, TENSOR, TOKEN = "per_channel", "per_tensor", "per_token"
GROUP, ROTATED = "per_group", "per_group_rotated"

pytestmark = pytest.mark.filterwarnings("ignore:.* have groups of")  # one case asks for that


@dataclass(frozen=True)
class Case:
    """A recipe and what the language and vision towers must become."""

    recipe: str
    language: tuple[int, int, str]
    """Weight bits, activation bits, activation granularity."""
    vision: tuple[int, int, str]
    overrides: tuple[str, ...] = ()


CASES = {
    "w8a8": Case("w8a8", (8, 8, TOKEN), (8, 8, TOKEN)),
    "w6a6": Case("w6a6", (6, 6, ROTATED), (6, 6, ROTATED)),
    "w6a6-static": Case("w6a6-static", (6, 6, STATIC), (6, 6, TOKEN)),
    "w4a4": Case("w4a4", (4, 4, ROTATED), (4, 4, ROTATED)),
    "w4a4-static": Case("w4a4-static", (4, 4, STATIC), (4, 4, TOKEN)),
    "per-group": Case(
        "w4a4", (4, 6, GROUP), (4, 4, GROUP),
        ("language.activations.granularity=per_group", "language.activations.bits=6",
         "vision.activations.granularity=per_group", "vision.activations.symmetric=true"),
    ),
    "w4a8": Case("w4a8", (4, 8, ROTATED), (4, 8, ROTATED)),
    "w4a16": Case("w4a16", (4, 16, STATIC), (4, 16, STATIC)),
    "per-tensor": Case(
        "w8a8", (8, 8, TENSOR), (8, 8, TENSOR),
        ("language.activations.granularity=per_tensor",
         "vision.activations.granularity=per_tensor"),
    ),
    "symmetric": Case(
        "w4a4-static", (4, 4, STATIC), (4, 4, TOKEN),
        ("language.weights.symmetric=true", "language.activations.symmetric=true",
         "vision.weights.symmetric=true", "vision.activations.symmetric=true"),
    ),
    "per-channel-weights": Case(
        "w6a6-static", (6, 6, STATIC), (6, 6, TOKEN),
        ("language.weights.granularity=per_channel", "language.weights.group_size=null"),
    ),
    "odd-bits": Case(
        "w4a4-static", (3, 5, STATIC), (7, 2, STATIC),
        ("language.weights.bits=3", "language.activations.bits=5", "vision.weights.bits=7",
         "vision.activations.bits=2", "vision.activations.granularity=per_channel"),
    ),
    "second-order-rounding": Case(
        "w4a4-static", (4, 4, STATIC), (4, 4, TOKEN),
        ("language.weights.rounding=gptq", "projector.weights.rounding=gptq",
         "vision.weights.rounding=gptq", "calibration.guard_fraction=0"),
    ),
    "odd-groups-and-head": Case(
        "w4a4-static", (4, 4, STATIC), (4, 4, TOKEN),
        ("language.weights.group_size=24", "group_size_fallback=largest_divisor",
         "language.weights.clipping=lp", "lm_head.weights.bits=5", "lm_head.activations.bits=8"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A case with its run directory."""

    case: Case
    directory: Path

    @property
    def index(self) -> list[dict]:
        return json.loads((self.directory / "quantization.json").read_text())["layers"]


@pytest.fixture(scope="module", params=CASES.values(), ids=CASES.keys())
def run(request, tmp_path_factory, tiny_model, questions) -> Run:
    case = request.param
    directory = tmp_path_factory.mktemp("schemes") / "run"
    small = ("calibration.samples=4", "calibration.batch_size=2", "search.strategy=none")
    qvlm.quantize(
        tiny_model, case.recipe, f"scienceqa:{questions}", directory,
        overrides=(*small, *case.overrides),
    )  # fmt: skip
    return Run(case, directory)


def test_bits_are_as_asked(run):
    result = json.loads((run.directory / "result.json").read_text())
    layers = {layer["path"]: layer for layer in result["layers"]}
    for tower, asked in (("language", run.case.language), ("vision", run.case.vision)):
        paths = [entry["path"] for entry in run.index if entry["tower"] == tower]
        assert len(paths) == {"language": 3 * 7, "vision": 2 * 6}[tower]
        for path in paths:
            layer = layers[path]
            got = tuple(
                layer[key] for key in ("weight_bits", "activation_bits", "activation_granularity")
            )
            assert got == asked, path


def test_packed_sizes_are_as_documented(run):
    """docs/format.md, section Tensors: a level takes its bits and not one more per row."""
    expected = {}
    for layer in run.index:
        path, outputs, inputs = layer["path"], layer["out_features"], layer["in_features"]
        bits, groups = layer["weight_bits"], layer["in_features"] // layer["group_size"]
        assert groups * layer["group_size"] == inputs
        expected[f"{path}.weight_packed"] = ("U8", [outputs, math.ceil(inputs * bits / 8)])
        expected[f"{path}.weight_scale"] = ("BF16", [outputs, groups])
        if not layer["symmetric"]:
            width = math.ceil(groups * bits / 8)
            expected[f"{path}.weight_zero_point"] = ("U8", [outputs, width])
        activations = layer["activations"]
        if activations["bits"] < 16 and activations["granularity"] in (STATIC, TENSOR):
            width = 1 if activations["granularity"] == TENSOR else inputs
            expected[f"sites.{layer['site']}.scale"] = ("F32", [width])
            expected[f"sites.{layer['site']}.zero_point"] = ("U8", [width])
    stored = {}
    with safe_open(run.directory / "qvlm.safetensors", framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 (not a mapping)
            if "weight_" in name or name.startswith("sites."):
                part = file.get_slice(name)
                stored[name] = (part.get_dtype(), part.get_shape())
        assert not {f"{layer['path']}.weight" for layer in run.index} & set(file.keys())
    assert stored == expected


def test_sizes_in_the_result_are_the_files(run):
    result = json.loads((run.directory / "result.json").read_text())
    sizes, weights = result["sizes"], run.directory / "qvlm.safetensors"
    assert sizes["checkpoint_bytes"] == weights.stat().st_size
    assert sizes["float32_bytes"] == sum(
        4 * e["in_features"] * e["out_features"] for e in run.index
    )
    with safe_open(weights, framework="pt") as file:
        packed = sum(
            file.get_tensor(name).nbytes
            for name in file.keys()  # noqa: SIM118
            if "weight_" in name or name.startswith("sites.")
        )
    assert sizes["quantized_bytes"] == packed
    stored = sum(
        layer["bits_per_weight"] * entry["in_features"] * entry["out_features"] / 8
        for layer, entry in zip(result["layers"], run.index, strict=True)
    )
    assert stored == pytest.approx(packed)


@torch.no_grad()
def test_integer_and_simulated_agree_to_the_bit_where_inputs_are_integers(run, questions):
    integer, processor = qvlm.load(run.directory)
    simulated, _ = qvlm.load(run.directory, arithmetic="simulated")
    samples = open_source(f"scienceqa:{questions}", "test")
    for batch in calibration_batches(samples, processor, batch_size=4):
        ours = integer(**batch.inputs).logits
        assert torch.isfinite(ours).all()
        theirs = simulated(**batch.inputs).logits
        if all(layer["activations"]["bits"] <= 8 for layer in run.index):
            assert torch.equal(ours, theirs)
        else:  # sums of floats, in the order that suits the kernel
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=5e-4)
