"""Checkpoints in OpenFlamingo's layout: converted, they compute what the original does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import qvlm
from qvlm.errors import ModelError
from tiny.original_open_flamingo import Original, write_original

PICTURES = [
    kind("L").rotate(90 * turns).resize((40, 24)).convert("RGB")
    for kind, turns in (
        (Image.linear_gradient, 0),
        (Image.radial_gradient, 0),
        (Image.linear_gradient, 1),
    )
]


def _convert(original: Original, output: Path, **others: Any) -> Any:
    paths = {"vision_tower": original.tower_path, "language_model": original.language_path}
    return qvlm.convert(original.checkpoint, output, **(paths | others))


@pytest.mark.parametrize(
    ("interval", "old"), [(1, False), (2, False), (1, True)], ids=["mpt-7b", "every-2nd", "mpt-1b"]
)
@torch.no_grad()
def test_few_shot_prompts_give_the_original_s_logits(
    interval: int, old: bool, tmp_path: Path
) -> None:
    original = write_original(tmp_path, interval, old)
    record = _convert(original, tmp_path / "out")
    assert (record.layout, record.dropped, record.notes) == ("OpenFlamingo", (), ())
    model, processor = qvlm.load(tmp_path / "out")
    prompt = "Look: <image>red<|endofchunk|><image>blue<|endofchunk|><image>it is"
    inputs = processor(text=[prompt], images=PICTURES)
    assert inputs["pixel_values"].shape == (1, 3, 3, 32, 32)
    theirs = original.logits(inputs["input_ids"], inputs["pixel_values"][0])
    ours = model(**inputs).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    _check_generation(original, model, processor, prompt)


def _check_generation(original: Original, model: Any, processor: Any, prompt: str) -> None:
    """Step by step with a cache, and beside a padded prompt with fewer images: the same tokens."""
    processor.tokenizer.padding_side = "left"
    inputs = processor(text=[prompt, "<image>no"], images=[PICTURES, PICTURES[:1]], padding=True)
    ends = model.generation_config.eos_token_id
    model.generation_config.eos_token_id = None
    tokens = model.generate(**inputs, do_sample=False, max_new_tokens=4)
    model.generation_config.eos_token_id = ends
    assert ends == [original.image_id - 1, 2]
    for row, pictures in enumerate((PICTURES, PICTURES[:1])):
        ids = inputs["input_ids"][row][inputs["attention_mask"][row].bool()]
        pixels = inputs["pixel_values"][row][: len(pictures)]
        for token in tokens[row][inputs["input_ids"].shape[1] :]:
            assert int(original.logits(ids[None], pixels)[0, -1].argmax()) == int(token)
            ids = torch.cat((ids, token[None]))


@torch.no_grad()
def test_a_text_without_an_image_only_passes_the_feed_forward_parts(tmp_path: Path) -> None:
    original = write_original(tmp_path)
    _convert(original, tmp_path / "out")
    model, processor = qvlm.load(tmp_path / "out")
    inputs = processor(text=["no picture"])
    theirs = original.logits(inputs["input_ids"], torch.zeros(1, 3, 32, 32))
    torch.testing.assert_close(model(**inputs).logits, theirs, rtol=1e-4, atol=1e-4)


def test_prompts_are_openflamingo_s(tmp_path: Path) -> None:
    original = write_original(tmp_path)
    _convert(original, tmp_path / "out")
    _, processor = qvlm.load(tmp_path / "out")
    image, ask = {"type": "image"}, {"type": "text", "text": "What is it?"}
    answer = {"role": "assistant", "content": [{"type": "text", "text": "A cat"}]}
    meme = {"type": "text", "text": "is an image with: 'x' written on it. Answer:"}
    messages = [{"role": "user", "content": [image, ask]}, answer]
    messages.append({"role": "user", "content": [image, meme]})
    assert processor.apply_chat_template(messages, add_generation_prompt=True) == (
        "<image>Question:What is it? Short answer: A cat<|endofchunk|>"
        "<image>is an image with: 'x' written on it. Answer:"
    )
    with pytest.raises(ValueError, match="image tokens in the texts for"):
        processor(text=["<image><image>"], images=PICTURES[:1])


@pytest.mark.filterwarnings("ignore:.* are zero in all calibration samples")
@torch.no_grad()
def test_from_the_original_to_integers(tmp_path: Path, questions: Path) -> None:
    original = write_original(tmp_path, old=True)
    _convert(original, tmp_path / "out")
    small = ("calibration.samples=4", "calibration.batch_size=2")
    result = qvlm.quantize(
        tmp_path / "out", "w4a4", f"scienceqa:{questions}", tmp_path / "run", overrides=small
    )
    paths = {layer.path for layer in result.layers}
    for path in (
        "gated_cross_attn_layers.1.cross_attn.k_proj",
        "blocks.1.attn.Wqkv",
        "perceiver_resampler.layers.1.mlp.fc2",
        "vision_model.encoder.layers.0.mlp.fc1",
    ):
        assert f"model.{path}" in paths
    generated = []
    for arithmetic in ("integer", "simulated"):
        model, processor = qvlm.load(tmp_path / "run", arithmetic)
        inputs = processor(text=["<image>a<|endofchunk|><image>b"], images=PICTURES[:2])
        assert model.lm_head.weight is model.model.wte.weight
        generated.append(model.generate(**inputs, do_sample=False, max_new_tokens=3))
    assert torch.equal(*generated)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "opt"}, "only MPT"),
        ({"attn_config": {"alibi": False}}, "ALiBi"),
        ({"expansion_ratio": 2}, "2 times as wide"),
        ({"n_layers": 4}, "do not fit a language model of 4 layers"),
        ({"logit_scale": 0.5}, "scales its logits"),
    ],
)
def test_other_language_models_are_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    original = write_original(tmp_path, **changes)
    with pytest.raises(ModelError, match=message):
        _convert(original, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_parts_are_named(tmp_path: Path) -> None:
    original = write_original(tmp_path)
    with pytest.raises(ModelError, match="--language-model"):
        qvlm.convert(original.checkpoint, tmp_path / "out")
    with pytest.raises(ModelError, match="--vision-tower"):
        _convert(original, tmp_path / "out", vision_tower="/nowhere")
    with pytest.raises(ModelError, match="--language-model"):
        _convert(original, tmp_path / "out", language_model="/nowhere")
    trained = dict(original.trained)
    trained["lang_encoder.transformer.wte.weight"] = torch.zeros(999, 64)
    torch.save(trained, original.checkpoint)
    with pytest.raises(ModelError, match="999"):
        _convert(original, tmp_path / "out")
    trained = {k.replace("transformer.blocks", "model.layers"): v for k, v in trained.items()}
    torch.save({k: v for k, v in trained.items() if "wte" not in k}, original.checkpoint)
    with pytest.raises(ModelError, match="Only MPT"):
        _convert(original, tmp_path / "out")


def test_layers_under_their_other_name(tmp_path: Path) -> None:
    original = write_original(tmp_path, interval=2)
    expected = _convert(original, tmp_path / "a")
    old, new = "transformer.blocks.1.gated_cross_attn_layer.", "gated_cross_attn_layers.1."
    torch.save({k.replace(old, new): v for k, v in original.trained.items()}, original.checkpoint)
    assert _convert(original, tmp_path / "b") == expected
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]
