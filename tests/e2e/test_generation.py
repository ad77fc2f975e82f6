"""Greedy tokens of the two arithmetics, and that quantization changed something but not all."""

from __future__ import annotations

import pytest
import torch

import qvlm
from qvlm.data import open_source
from qvlm.data.batches import calibration_batches, prompt_inputs
from qvlm.runtime import QuantizedLinear


@pytest.fixture(scope="module")
def loaded(quantized):
    integer, processor = qvlm.load(quantized)
    simulated, _ = qvlm.load(quantized, arithmetic="simulated")
    return integer, simulated, processor


@pytest.fixture(scope="module")
def prompts(loaded, questions):
    """Inputs of every question of both splits, one by one."""
    samples = [s for split in ("train", "test") for s in open_source(str(questions), split)]
    return [prompt_inputs([sample], loaded[2]) for sample in samples]


@torch.no_grad()
def test_same_tokens_and_the_same_bits_on_every_prompt(loaded, prompts):
    integer, simulated, _ = loaded
    for inputs in prompts:
        settings = {"do_sample": False, "max_new_tokens": 3, "return_dict_in_generate": True,
                    "output_logits": True}  # fmt: skip
        ours, theirs = (model.generate(**inputs, **settings) for model in (integer, simulated))
        assert torch.equal(ours.sequences, theirs.sequences)
        for a, b in zip(ours.logits, theirs.logits, strict=True):
            assert torch.equal(a, b)


@torch.no_grad()
def test_one_token_at_a_time_gives_what_the_whole_sequence_gives(loaded, prompts):
    model, _, _ = loaded
    inputs = prompts[0]
    whole = model(**inputs).logits[:, -1]
    first = {name: t[:, :-1] if t.ndim == 2 else t for name, t in inputs.items()}
    cache = model(**first, use_cache=True).past_key_values
    last = model(input_ids=inputs["input_ids"][:, -1:], past_key_values=cache).logits[:, -1]
    torch.testing.assert_close(last, whole, rtol=1e-3, atol=1e-3)


def test_the_quantized_linears_are_integers(loaded, quantized):
    model, _, _ = loaded
    integers = {
        name for name, module in model.named_modules() if isinstance(module, QuantizedLinear)
    }
    assert len(integers) == 2 * 6 + 2 + 3 * 7
    assert not any(hasattr(model.get_submodule(name), "weight") for name in integers)
    assert isinstance(model.lm_head, torch.nn.Linear)


@torch.no_grad()
def test_8_bits_stay_near_full_precision_on_what_was_calibrated(tmp_path, tiny_model, questions):
    overrides = ("calibration.samples=8", "calibration.guard_fraction=0", "search.strategy=none")
    source = f"scienceqa:{questions}"
    qvlm.quantize(tiny_model, "w8a8", source, tmp_path / "q", overrides=overrides)
    full, processor = qvlm.load(tiny_model)
    model, _ = qvlm.load(tmp_path / "q")
    for batch in calibration_batches(open_source(source, "train"), processor, batch_size=4):
        exact = full(**batch.inputs).logits[batch.valid]
        ours = model(**batch.inputs).logits[batch.valid]
        assert 0 < float((ours - exact).norm() / exact.norm()) < 0.1
