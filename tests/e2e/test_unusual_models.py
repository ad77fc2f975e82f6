"""Models whose activations or dtypes invite division by zero."""

from __future__ import annotations

import math

import pytest
import torch

import qvlm
from qvlm.data import open_source
from qvlm.data.batches import prompt_inputs
from tiny.llava import save_llava, tiny_llava

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
ZERO_CHANNELS = pytest.mark.filterwarnings("ignore:.* are zero in all calibration samples")
OVERRIDES = (
    "calibration.samples=4", "calibration.batch_size=4", "search.strategy=coordinate",
    "search.budget=4",
)  # fmt: skip


@ZERO_CHANNELS
@pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "bfloat16", "float16"])
@torch.no_grad()
def test_constant_channels_in_every_dtype(tmp_path, questions, dtype):
    model, processor = tiny_llava(layers=2, vision_layers=2, dtype=dtype)
    _make_constant(model)
    directory = save_llava(tmp_path / "model", model, processor)
    source = f"scienceqa:{questions}"
    result = qvlm.quantize(directory, "w4a4-static", source, tmp_path / "q", overrides=OVERRIDES)
    assert result.guard is not None
    assert all(math.isfinite(plan.total) for plan in result.guard.plans.values())
    assert any("22 of 64 channels of 'language.0.attn_in'" in text for text in result.warnings)
    loaded, processor = qvlm.load(tmp_path / "q")
    assert loaded.lm_head.weight.dtype == dtype
    for name, value in loaded.state_dict(keep_vars=True).items():
        assert torch.isfinite(value).all(), name
    for sample in open_source(source, "test")[:3]:
        inputs = prompt_inputs([sample], processor)
        logits = loaded(**inputs).logits
        assert logits.dtype == dtype
        assert torch.isfinite(logits).all()
        tokens = loaded.generate(**inputs, do_sample=False, max_new_tokens=2)
        assert tokens.shape[1] > inputs["input_ids"].shape[1]


@ZERO_CHANNELS
@torch.no_grad()
def test_a_layer_whose_weights_are_all_zero(tmp_path, questions):
    model, processor = tiny_llava(layers=2, vision_layers=2)
    model.model.language_model.layers[1].mlp.up_proj.weight.zero_()
    directory = save_llava(tmp_path / "model", model, processor)
    source = f"scienceqa:{questions}"
    qvlm.quantize(directory, "w4a4-static", source, tmp_path / "q", overrides=OVERRIDES)
    loaded, _ = qvlm.load(tmp_path / "q")
    up = loaded.model.language_model.layers[1].mlp.up_proj
    assert not up(torch.randn(3, up.in_features)).any()


def _make_constant(model: torch.nn.Module) -> None:
    """Some channels zero, one whole input zero, one whole input constant but not zero."""
    language = model.model.language_model.layers
    language[0].input_layernorm.weight.data[::3] = 0
    language[1].post_attention_layernorm.weight.data.zero_()
    vision = model.model.vision_tower.encoder.layers
    vision[0].layer_norm1.weight.data.zero_()
    vision[0].layer_norm1.bias.data.fill_(0.5)
