from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from qvlm.artefacts.calibration import IMAGE, PADDING, TEXT
from qvlm.data import Sample
from qvlm.data.batches import calibration_batches, prompt_inputs
from qvlm.data.prompts import render
from qvlm.data.sources.scienceqa import read
from qvlm.errors import DataError, ImageError
from tiny.llava import tiny_llava, tiny_processor
from tiny.scienceqa import sample, write_scienceqa

PATCHES = 16


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    return read(write_scienceqa(tmp_path_factory.mktemp("data")), "test")


@pytest.fixture(scope="module")
def processor() -> Any:
    return tiny_processor()


def test_batches_hold_one_modality_and_keep_the_order(
    samples: list[Sample], processor: Any
) -> None:
    batches = calibration_batches(samples, processor, batch_size=2)
    assert [b.modality.shape[0] for b in batches] == [2, 1, 2, 1]
    assert ["pixel_values" in b.inputs for b in batches] == [True, True, False, False]
    text = processor.tokenizer.decode(batches[0].inputs["input_ids"][0], skip_special_tokens=True)
    assert "Magnets pull iron." in text


def test_modality_and_labels(samples: list[Sample], processor: Any) -> None:
    for batch in calibration_batches(samples, processor, batch_size=3):
        ids, mask = batch.inputs["input_ids"], batch.inputs["attention_mask"]
        assert torch.equal(batch.modality == PADDING, mask == 0)
        images = (batch.modality == IMAGE).sum(dim=1)
        assert set(images.tolist()) == ({PATCHES} if "pixel_values" in batch.inputs else {0})
        assert (batch.modality == TEXT).any()
        answers = batch.labels != -100
        assert torch.equal(batch.labels[answers], ids[answers])
        for row in range(len(ids)):
            expected = batch.labels[row][answers[row]]
            assert processor.tokenizer.decode(expected) == " B</s>"
            assert answers[row].nonzero().max() == batch.valid[row].nonzero().max()


def test_padding_does_not_change_what_the_model_computes(
    samples: list[Sample], processor: Any
) -> None:
    model, _ = tiny_llava()
    text_only = [s for s in samples if s.image is None]
    (batch,) = calibration_batches(text_only, processor, batch_size=3)
    assert (batch.modality == PADDING).any()
    with torch.no_grad():
        together = model(**batch.inputs).logits
        for row, one in enumerate(text_only):
            (alone,) = calibration_batches([one], processor, batch_size=1)
            expected = model(**alone.inputs).logits[0]
            torch.testing.assert_close(together[row, : len(expected)], expected)


def test_prompts_are_padded_on_the_left(samples: list[Sample], processor: Any) -> None:
    images = [s for s in samples if s.image is not None]
    inputs = prompt_inputs(images, processor)
    assert inputs["attention_mask"][:, -1].all()
    assert not inputs["attention_mask"].all()
    assert inputs["pixel_values"].shape == (3, 3, 32, 32)
    last = processor.tokenizer.decode(inputs["input_ids"][0], skip_special_tokens=True)
    assert last.endswith("directly. ASSISTANT:")


def test_blank_images(samples: list[Sample], processor: Any) -> None:
    images = [s for s in samples if s.image is not None]
    seen = prompt_inputs(images, processor)
    blank = prompt_inputs(images, processor, blank_images=True)
    assert torch.equal(seen["input_ids"], blank["input_ids"])
    assert not torch.equal(seen["pixel_values"], blank["pixel_values"])
    assert torch.equal(blank["pixel_values"][0], blank["pixel_values"][1])


def test_nothing_is_truncated(processor: Any) -> None:
    long = sample(hint="word " * 3000)
    processor.tokenizer.model_max_length = 50
    (batch,) = calibration_batches([long], processor, batch_size=1)
    processor.tokenizer.model_max_length = 10**9
    assert batch.modality.shape[1] > 15_000


def test_a_template_with_a_begin_token_gets_no_second_one(samples: list[Sample]) -> None:
    processor = tiny_processor()
    processor.chat_template = "{{ '<s>' }}" + processor.chat_template
    ids = prompt_inputs(samples[2:3], processor)["input_ids"][0].tolist()
    assert ids.count(processor.tokenizer.bos_token_id) == 1
    assert torch.equal(
        torch.tensor([ids]), prompt_inputs(samples[2:3], tiny_processor())["input_ids"]
    )


def test_without_a_pad_token_the_end_token_pads(samples: list[Sample]) -> None:
    processor = tiny_processor()
    processor.tokenizer.pad_token = None
    inputs = prompt_inputs([s for s in samples if s.image is None], processor)
    padding = inputs["input_ids"][inputs["attention_mask"] == 0]
    assert set(padding.tolist()) == {processor.tokenizer.eos_token_id}


def test_a_template_that_drops_the_image_is_an_error(samples: list[Sample]) -> None:
    processor = tiny_processor()
    processor.chat_template = "{{ messages[0]['content'][-1]['text'] }}"
    with pytest.raises(DataError, match="sample test/1: the chat template renders 0 image"):
        calibration_batches(samples, processor, batch_size=2)


def test_a_placeholder_in_the_text_is_an_error(samples: list[Sample], processor: Any) -> None:
    with pytest.raises(DataError, match="sample test/1: its text contains '<image>'"):
        calibration_batches([sample(question="See <image>?")], processor, batch_size=1)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("patch_size", 64, "sample test/1: the processor made 0 image tokens for 1 images"),
        ("patch_size", None, "sample test/1: the processor cannot encode it"),
        ("image_token_id", 287, "sample test/1: the processor cannot encode it"),
        ("image_token_id", None, "LlavaProcessor names no image_token_id"),
    ],
)
def test_a_processor_that_does_not_fit_is_an_error(
    samples: list[Sample], setting: str, value: int | None, message: str
) -> None:
    processor = tiny_processor()
    setattr(processor, setting, value)
    with pytest.raises(DataError, match=message):
        calibration_batches(samples[:1], processor, batch_size=1)


def test_a_broken_image_names_sample_and_file(processor: Any, tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(b"")
    with pytest.raises(ImageError, match=r"sample test/1: .*image\.png' is not an image"):
        prompt_inputs([sample(image=path)], processor)
    Image.new("RGB", (11, 10)).save(path)
    with pytest.raises(ImageError, match="more than the cap of 100"):
        calibration_batches([sample(image=path)], processor, batch_size=1, max_pixels=100)


def test_no_samples_and_mixed_samples(samples: list[Sample], processor: Any) -> None:
    with pytest.raises(DataError, match="there are no calibration samples"):
        calibration_batches([], processor, batch_size=1)
    with pytest.raises(DataError, match="all have an image or all have none"):
        prompt_inputs(samples, processor)


def test_without_a_chat_template_the_prompt_is_the_same(samples: list[Sample]) -> None:
    bare = tiny_processor()
    bare.chat_template = None
    for one in samples:
        assert render(one, bare) == render(one, tiny_processor())
