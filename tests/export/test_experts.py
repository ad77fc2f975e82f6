"""Mixtures of experts: a linear each, which Transformers fuses again, or an error that says why."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors import safe_open

import qvlm
from qvlm import pipeline
from qvlm.artefacts.checkpoint import CheckpointIndex, QuantizedLayer
from qvlm.errors import ExportError
from qvlm.export.standard.experts import expert_parts, with_split_experts
from qvlm.schemes.layer import ActivationScheme
from tiny.exports import distance, quantized_run
from tiny.families import FAMILIES
from tiny.llava import save_llava

ROOT = "model.language_model.layers.0.mlp.experts"
PARTS = {
    f"{ROOT}.gate_up_proj": (f"{ROOT}.*.gate_proj.weight", f"{ROOT}.*.up_proj.weight"),
    f"{ROOT}.down_proj": (f"{ROOT}.*.down_proj.weight",),
}


@pytest.mark.parametrize("family", ["llava-mixtral", "llava-qwen2_moe"])
def test_experts_are_a_linear_each_and_transformers_computes_the_same(family, questions, tmp_path):
    model = save_llava(tmp_path / "model", *FAMILIES[family]())
    groups = ("language.weights.group_size=16",)
    run = quantized_run(model, questions, tmp_path / "run", "w4a16-symmetric", groups)
    pipeline.export(run, tmp_path / "exported")
    assert distance(tmp_path / "exported", run, questions) < 1e-6
    with safe_open(tmp_path / "exported/model.safetensors", "pt") as file:
        names = set(file.keys())
    with safe_open(model / "model.safetensors", "pt") as file:
        experts = {name for name in file.keys() if ".experts." in name}  # noqa: SIM118
    assert {f"{name}_packed" for name in experts} <= names
    result = qvlm.verify(tmp_path / "exported")
    assert not result.failed, result.checks
    assert sum(row.layers for row in result.rows) == sum(
        row.layers for row in qvlm.verify(run).rows
    ) + len({name for name in experts if "w3" in name or "up_proj" in name})


def layer(path: str, **changes) -> QuantizedLayer:
    fields = {
        "path": path, "site": "language.0.experts.0", "tower": "language", "in_features": 64,
        "out_features": 64, "weight_bits": 4, "group_size": 16, "symmetric": True,
        "activations": ActivationScheme(bits=16),
    }  # fmt: skip
    return QuantizedLayer(**{**fields, **changes})


def index(*layers: QuantizedLayer, skipped: dict[str, str] | None = None) -> CheckpointIndex:
    return CheckpointIndex(
        qvlm_version="0", architecture="a", recipe="r", layers=layers, skipped=skipped or {}
    )


def test_rows_of_gate_and_up_become_two_linears():
    found = with_split_experts(index(layer(f"{ROOT}.3.gate_up_proj"), layer("q_proj")), PARTS)
    assert [(one.path, one.out_features) for one in found.layers] == [
        (f"{ROOT}.3.gate_proj", 32), (f"{ROOT}.3.up_proj", 32), ("q_proj", 64),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "skipped", "complaint"),
    [
        (
            {"activations": ActivationScheme(bits=8, granularity="per_token", symmetric=True)},
            None,
            r"quantized activations, which Transformers leaves.*language\.activations\.bits=16",
        ),
        ({"weight_bits": 8}, None, "several schemes"),
        ({}, {f"{ROOT}.1.down_proj": "excluded"}, "stays in floating point.*all experts"),
    ],
    ids=["activations", "two-schemes", "excluded"],
)
def test_what_transformers_would_misread_is_an_error(changed, skipped, complaint):
    layers = (layer(f"{ROOT}.0.gate_up_proj"), layer(f"{ROOT}.0.down_proj", **changed))
    with pytest.raises(ExportError, match=complaint):
        with_split_experts(index(*layers, skipped=skipped), PARTS)


def test_experts_that_the_hub_keeps_fused_are_an_error():
    model, _ = FAMILIES["qwen3_vl_moe"]()
    with pytest.raises(ExportError, match="one tensor of all experts: keep the run, and serve it"):
        expert_parts(model)


@pytest.mark.parametrize("family", ["open_flamingo", "moe_llava-phi"])
def test_architectures_that_no_other_program_loads_are_an_error(family, quantized, tmp_path):
    run = shutil.copytree(quantized, tmp_path / "run")
    config = FAMILIES[family]()[0].config.to_dict()
    (run / "config.json").write_text(json.dumps({**config, "quantization_config": {}}))
    with pytest.raises(ExportError, match=r"architecture of qvlm's own.*qvlm serve"):
        pipeline.export(run, tmp_path / "exported")
