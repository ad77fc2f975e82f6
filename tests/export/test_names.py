"""Expressions for layers, and what vLLM makes of them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from qvlm.export.standard.experts import paths_on_hub
from qvlm.export.standard.patterns import matches, patterns_for
from qvlm.export.standard.vllm_names import KNOWN, misread, name_in_vllm, reason_unknown
from tiny.llava import tiny_llava

LAYERS = [f"model.language_model.layers.{layer}.mlp.{name}" for layer in range(12)
          for name in ("gate_proj", "up_proj", "down_proj")]  # fmt: skip
TOWER = [f"model.vision_tower.encoder.layers.{layer}.mlp.fc1" for layer in range(3)]


def test_a_tower_is_named_by_its_tails():
    (pattern,) = patterns_for(LAYERS, TOWER)
    assert all(matches(pattern, path) for path in LAYERS)
    assert matches(pattern, "language_model.model.layers.3.mlp.gate_up_proj")
    assert not any(matches(pattern, path) for path in TOWER)


def test_single_layers_are_named_by_their_numbers():
    wanted = [path for path in LAYERS if ".layers.1." in path]
    patterns = patterns_for(wanted, [path for path in LAYERS if path not in wanted])
    chosen = [path for path in LAYERS if any(matches(pattern, path) for pattern in patterns)]
    assert chosen == wanted


def test_the_output_layer_is_named_in_both():
    (pattern,) = patterns_for(["lm_head"], LAYERS)
    assert matches(pattern, "lm_head")
    assert matches(pattern, "language_model.lm_head")
    assert not matches(pattern, "model.language_model.layers.0.self_attn.q_proj")


@pytest.mark.parametrize(
    ("ignore", "well"),
    [
        (["re:.*vision_tower.*", "re:.*lm_head"], True),
        (["re:model[.]vision_tower.*", "re:.*lm_head"], False),
        (["vision_tower.vision_model.*", "re:.*lm_head"], False),
        ("memory", False),
        ("hub", True),
        (["re:.*vision_tower.*"], True),
    ],
    ids=["expression", "from-memory", "star", "exact-memory", "exact-hub", "head-left-out"],
)
def test_lists_that_vllm_reads_otherwise_are_found(ignore, well):
    model, _ = tiny_llava()
    linears = [name for name, part in model.named_modules() if type(part).__name__ == "Linear"]
    tower = [name for name in linears if "vision_tower" in name]
    kept = [*tower, "lm_head"]
    if ignore == "memory":
        ignore = [*kept]
    elif ignore == "hub":
        ignore = [
            name.replace("model.vision_tower.", "vision_tower.vision_model.") for name in kept
        ] + ["re:.*lm_head"]
    raw = {"config_groups": {"group_0": {"targets": ["Linear"]}}, "ignore": ignore}
    quantized = {name: "W8A8" for name in linears if name not in kept}
    hub = paths_on_hub(model, linears, {})
    found = misread(KNOWN["llava"], raw, hub, quantized, kept)
    # The output layer is no `Linear` in vLLM.
    assert (not found) == well, found


def test_linears_that_vllm_fuses_must_be_alike():
    model, _ = tiny_llava()
    linears = [name for name, part in model.named_modules() if type(part).__name__ == "Linear"]
    kept = [name for name in linears if name.endswith(("k_proj", "lm_head"))]
    raw = {
        "config_groups": {"group_0": {"targets": ["Linear"]}},
        "ignore": ["re:.*k_proj", "re:.*lm_head"],
    }
    quantized = {name: "W8A8" for name in linears if name not in kept}
    found = misread(KNOWN["llava"], raw, paths_on_hub(model, linears, {}), quantized, kept)
    assert "vLLM fuses q_proj, k_proj, v_proj" in found[0]


@pytest.mark.parametrize("model_type", ["internvl", "llava_onevision", "paligemma"])
def test_projectors_that_vllm_builds_in_floating_point_are_said(model_type):
    path = "model.multi_modal_projector.linear_1"
    raw = {"config_groups": {"group_0": {"targets": ["re:.*linear_1$"]}}}
    hub = {path: "multi_modal_projector.linear_1"}
    (found,) = misread(KNOWN[model_type], raw, hub, {path: "W8A8"}, ())
    assert found.endswith("stops while it loads: quantize with --set projector=null")
    assert misread(KNOWN["llava"], raw, hub, {path: "W8A8"}, ()) == []


def test_names_of_qwen_are_rewritten_one_prefix_after_the_other():
    names = KNOWN["qwen2_5_vl"]
    assert name_in_vllm("visual.blocks.0.mlp.up_proj", names) == "visual.blocks.0.mlp.up_proj"
    assert name_in_vllm("model.layers.1.mlp.up_proj", names) == (
        "language_model.model.layers.1.mlp.up_proj"
    )
    assert name_in_vllm("lm_head", names) == "language_model.lm_head"


@pytest.mark.parametrize(
    ("model_type", "text", "reason"),
    [
        ("llava", "llama", None),
        ("llava", "phi", "runs phi in it through Transformers"),
        ("mllama", "mllama_text_model", "dropped its model of it after 0.10"),
        ("idefics", None, "cannot run Transformers', whose layers attend twice"),
        ("somevl", None, "vLLM's names of somevl are not known"),
    ],
)
def test_what_vllm_has_no_model_of_is_said(model_type, text, reason):
    config = SimpleNamespace(model_type=model_type, text_config=SimpleNamespace(model_type=text))
    found = reason_unknown(config)
    assert (found is None) == (reason is None)
    assert reason is None or reason in found
