"""The files of an exported checkpoint."""

from __future__ import annotations

import json

import pytest
import torch
from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32
from safetensors.torch import load_file

import qvlm
from qvlm import pipeline
from qvlm.errors import QvlmError
from qvlm.numerics.packing import unpack_bits

COPIES = ("tokenizer.json", "tokenizer_config.json", "processor_config.json",
          "chat_template.jinja", "generation_config.json")  # fmt: skip


def test_files_of_the_source_are_the_same_bytes(packed, tiny_model):
    found = [name for name in COPIES if (tiny_model / name).is_file()]
    assert len(found) >= 4
    for name in found:
        assert (packed / name).read_bytes() == (tiny_model / name).read_bytes()
    assert (packed / "recipe.yaml").read_text().startswith("name: w4a16-symmetric")


def test_names_are_those_of_the_hub(packed):
    names = set(json.loads((packed / "model.safetensors.index.json").read_text())["weight_map"])
    assert "vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight_packed" in names
    assert "language_model.model.layers.0.self_attn.q_proj.weight_scale" in names
    assert "language_model.lm_head.weight" in names
    assert "multi_modal_projector.linear_1.bias" in names
    assert not [name for name in names if name.startswith("model.")]


def test_shards_hold_what_the_index_says(packed):
    index = json.loads((packed / "model.safetensors.index.json").read_text())
    shards = {file: load_file(packed / file) for file in set(index["weight_map"].values())}
    assert len(shards) > 2
    for name, file in index["weight_map"].items():
        assert name in shards[file]
    tensors = [tensor for shard in shards.values() for tensor in shard.values()]
    assert sum(tensor.nbytes for tensor in tensors) == index["metadata"]["total_size"]
    assert {name for shard in shards.values() for name in shard} == set(index["weight_map"])


def test_levels_are_those_of_the_run(packed):
    native = load_file(packed.parent / "run" / "qvlm.safetensors")
    stored = {}
    for file in packed.glob("*.safetensors"):
        stored |= load_file(file)
    path = "layers.1.mlp.down_proj"
    ours = unpack_bits(native[f"model.language_model.{path}.weight_packed"], 4, 128)
    theirs = unpack_from_int32(
        stored[f"language_model.model.{path}.weight_packed"], 4, torch.Size([64, 128])
    )
    assert torch.equal(ours.int() - 8, theirs.int())
    scale = native[f"model.language_model.{path}.weight_scale"].float()
    assert torch.equal(scale, stored[f"language_model.model.{path}.weight_scale"])


def test_the_config_says_what_is_quantized_and_what_not(static_run, tmp_path):
    report = pipeline.export(static_run, tmp_path / "exported")
    config = json.loads((tmp_path / "exported/config.json").read_text())["quantization_config"]
    assert config["format"] == "int-quantized"
    assert config["version"] == report.library_version
    first, second = config["config_groups"].values()
    assert first["input_activations"]["strategy"] == "token"
    assert second["input_activations"] == {
        "num_bits": 8, "type": "int", "symmetric": True, "strategy": "tensor", "dynamic": False,
    }  # fmt: skip
    assert all(target.startswith("re:") for target in (*first["targets"], *config["ignore"]))
    _check_fused_scales(load_file(tmp_path / "exported/model.safetensors"))
    # The vision tower's last layer is not read, so it is in no group.
    assert any("layers[.]2[.]mlp[.]fc1" in entry for entry in config["ignore"])
    card = (tmp_path / "exported/README.md").read_text()
    assert "8-bit activations, static" in card
    assert "above vision_feature_layer" in card
    assert report.quantized == {"vision": 12, "projector": 2, "language": 21}


def _check_fused_scales(tensors):
    """Linears that servers fuse share one scale of their input, of which vLLM takes the largest."""
    fused = {
        "self_attn": ("q_proj", "k_proj", "v_proj"),
        "mlp": ("gate_proj", "up_proj"),
    }
    for part, names in fused.items():
        paths = [f"language_model.model.layers.1.{part}.{name}.input_scale" for name in names]
        assert len({float(tensors[path]) for path in paths}) == 1


def test_mixed_forms_are_named_as_such(tiny_model, questions, tmp_path):
    from tiny.exports import quantized_run

    overrides = ("language.weights.bits=4", "language.activations.bits=16")
    run = quantized_run(tiny_model, questions, tmp_path / "run", "w8a8-dynamic", overrides)
    pipeline.export(run, tmp_path / "exported")
    config = json.loads((tmp_path / "exported/config.json").read_text())["quantization_config"]
    assert config["format"] == "mixed-precision"
    formats = [group["format"] for group in config["config_groups"].values()]
    assert formats == ["int-quantized", "pack-quantized"]
    assert qvlm.verify(tmp_path / "exported").checks[1].outcome == "ok"


def test_scores_of_the_run_and_of_full_precision_go_into_the_card(
    static_run, tiny_model, quantized, questions, tmp_path
):
    files = {}
    for name, model in {"full": tiny_model, "run": static_run, "other": quantized}.items():
        files[name] = tmp_path / f"{name}.json"
        qvlm.evaluate(model, data=f"scienceqa:{questions}", limit=3, output=files[name])
    served = tmp_path / "served"
    pipeline.export(static_run, served, scores=[files["full"], files["run"]])
    card = (served / "README.md").read_text()
    assert "| | NAT | SOC | LAN | TXT | IMG | NO | G1-6 | G7-12 | Avg |" in card
    assert "\n| full precision | " in card
    assert "\n| the run that it was made from, in qvlm's runtime | " in card
    assert "No accuracy has been measured" not in card
    # The export is the same bytes again, so scores of it are known as its own.
    qvlm.evaluate(served, data=f"scienceqa:{questions}", limit=3, output=tmp_path / "own.json")
    pipeline.export(static_run, served, scores=[tmp_path / "own.json"], overwrite=True)
    assert "\n| this checkpoint, in Transformers | " in (served / "README.md").read_text()
    with pytest.raises(QvlmError, match=r"other\.json' are of another model: evaluate"):
        pipeline.export(static_run, tmp_path / "none", scores=[files["other"]])
    assert not (tmp_path / "none").exists()
