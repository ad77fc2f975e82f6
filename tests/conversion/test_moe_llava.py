"""Checkpoints in MoE-LLaVA's layout: converted, they compute what the original does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import qvlm
from qvlm.cli.main import app
from qvlm.errors import ModelError, OutputError
from tiny.building import byte_tokenizer
from tiny.original_moe_llava import MODELS, Original, write_original


def _question(processor: Any) -> dict[str, torch.Tensor]:
    picture = Image.radial_gradient("L").resize((40, 24)).convert("RGB")
    messages = [
        {
            "role": "user",
            "content": [{"type": "image"}, {"type": "text", "text": "What colour is it?"}],
        }
    ]
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    assert text.endswith("USER: <image>\nWhat colour is it? ASSISTANT:")
    return dict(processor(text=[text], images=[picture], return_tensors="pt"))


def _compare(original: Original, directory: Path) -> Any:
    model, processor = qvlm.load(directory)
    inputs = _question(processor)
    ids = inputs["input_ids"][0].tolist()
    first = ids.index(processor.image_token_id)
    last = len(ids) - ids[::-1].index(processor.image_token_id)
    assert last - first == 16
    with torch.no_grad():
        ours = model(**inputs).logits
    theirs = original.logits(ids[:first], inputs["pixel_values"], ids[last:])
    torch.testing.assert_close(ours[..., : theirs.shape[-1]], theirs, rtol=1e-4, atol=1e-5)
    return model


@pytest.mark.parametrize("kind", MODELS)
def test_every_language_model_gives_the_original_s_logits(kind: str, tmp_path: Path) -> None:
    original = write_original(tmp_path, kind)
    record = qvlm.convert(original.source, tmp_path / "out")
    _compare(original, tmp_path / "out")
    assert record.layout == "MoE-LLaVA"
    assert all(name.startswith("model.image_tower.") for name in record.dropped)
    assert len(record.notes) == 1
    assert "random noise" in record.notes[0]
    assert json.loads((tmp_path / "out/conversion.json").read_text())["notes"] == [*record.notes]
    assert not list((tmp_path / "out").glob("*.bin"))


def test_one_expert_per_token_is_weighted_by_its_probability(tmp_path: Path) -> None:
    original = write_original(tmp_path, k=1)
    record = qvlm.convert(original.source, tmp_path / "out")
    _compare(original, tmp_path / "out")
    assert "exceeds 2/4" in record.notes[0]


def test_a_new_image_token_gets_a_row_and_is_never_generated(tmp_path: Path) -> None:
    original = write_original(tmp_path, vocabulary=len(byte_tokenizer("<unused>")))
    record = qvlm.convert(original.source, tmp_path / "out")
    model = _compare(original, tmp_path / "out")
    assert model.generation_config.suppress_tokens == [model.config.image_token_id]
    assert model.lm_head.out_features == model.config.image_token_id + 1
    assert any("never generated" in note for note in record.notes)


def test_images_are_padded_to_squares_where_the_config_says_so(tmp_path: Path) -> None:
    wide = Image.new("RGB", (64, 32), "white")
    for ratio, grey in (("pad", True), (None, False)):
        root = tmp_path / str(ratio)
        root.mkdir()
        original = write_original(root, image_aspect_ratio=ratio)
        qvlm.convert(original.source, root / "out")
        _, processor = qvlm.load(root / "out")
        pixels = processor(text=["<image>"], images=[wide], return_tensors="pt")["pixel_values"]
        assert bool((pixels[0, :, 0].abs() < 0.1).all()) == grey


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "moe_llava_qwen"}, "Transformers has no first Qwen"),
        ({"image_projector_type": "qformer4_36"}, "qformer4_36"),
        ({"mm_use_im_start_end": True}, "start and end"),
        ({"moe": {}}, "names no experts"),
        ({"hidden_size": 32}, "does not fit"),
        ({"num_hidden_layers": 1}, "unknown tensor"),
        ({"num_hidden_layers": 3}, "lacks tensor"),
        ({"mm_image_tower": "/nowhere"}, "--vision-tower"),
    ],
)
def test_what_has_no_counterpart_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    original = write_original(tmp_path, **changes)
    with pytest.raises(ModelError, match=message):
        qvlm.convert(original.source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pickle_with_more_than_tensors_is_refused(tmp_path: Path) -> None:
    original = write_original(tmp_path)
    shard = next(original.source.glob("*.bin"))
    torch.save({"a": print}, shard)
    with pytest.raises(ModelError, match="more than tensors"):
        qvlm.convert(original.source, tmp_path / "out")


def test_a_tokenizer_of_its_own_code_is_replaced_on_request(tmp_path: Path) -> None:
    original = write_original(tmp_path)
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    for file in original.source.glob("tokenizer*"):
        file.rename(tokens / file.name)
    with pytest.raises(ModelError, match="--tokenizer"):
        qvlm.convert(original.source, tmp_path / "out")
    record = qvlm.convert(original.source, tmp_path / "out", tokenizer=tokens)
    assert record.tokenizer == str(tokens)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    original = write_original(tmp_path)
    arguments = ["convert", str(original.source), str(tmp_path / "out")]
    app(arguments, standalone_mode=False)
    printed = capsys.readouterr().out
    assert "note: the second expert" in printed
    assert f"MoE-LLaVA: {tmp_path / 'out'}" in printed
    with pytest.raises(OutputError, match="exists"):
        app(arguments, standalone_mode=False)
    with pytest.raises(ModelError, match="no layout that can be converted"):
        app(["convert", str(tmp_path), str(tmp_path / "other")], standalone_mode=False)


@pytest.mark.filterwarnings("ignore:.* are zero in all calibration samples")
@torch.no_grad()
def test_from_the_original_to_integers(tmp_path: Path, questions: Path) -> None:
    original = write_original(tmp_path, "moe_llava_phi")
    qvlm.convert(original.source, tmp_path / "out")
    small = ("calibration.samples=4", "calibration.batch_size=2")
    result = qvlm.quantize(
        tmp_path / "out", "w4a4", f"scienceqa:{questions}", tmp_path / "run", overrides=small
    )
    assert "model.language_model.layers.0.mlp.experts.3.fc2" in {x.path for x in result.layers}
    generated = []
    for arithmetic in ("integer", "simulated"):
        model, processor = qvlm.load(tmp_path / "run", arithmetic)
        inputs = _question(processor)
        generated.append(model.generate(**inputs, do_sample=False, max_new_tokens=3))
    assert torch.equal(*generated)
