"""Calibration data that cannot be used: one clear line, exit code 2, nothing written."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import pytest

from tiny.scienceqa import edit_problem

IMAGE = Path("images/train/t0/image.png")
ALL = ("--set", "calibration.samples=8")


def test_an_unknown_source(refused, tiny_model, tmp_path):
    line = refused(
        "quantize", tiny_model, "--calibration", "sciencqa:/data", "--output", tmp_path / "out"
    )
    assert "did you mean 'scienceqa'?" in line


def test_a_folder_that_is_missing(refuses_to_quantize, tmp_path):
    assert "is not a directory" in refuses_to_quantize(data=tmp_path / "nowhere")


def test_a_split_without_samples(refuses_to_quantize, questions_copy):
    _set_training_ids(questions_copy, [])
    assert "split 'train' is empty" in refuses_to_quantize(data=questions_copy)


def test_fewer_samples_than_asked_for(refuses_to_quantize):
    line = refuses_to_quantize("--set", "calibration.samples=64")
    assert "64 samples were asked for, but the data has 8" in line


def test_one_sample_is_too_few(refuses_to_quantize):
    line = refuses_to_quantize("--set", "calibration.samples=1")
    assert "calibration.samples = 1" in line


def test_samples_without_an_image_cannot_calibrate_the_vision_tower(
    refuses_to_quantize, questions_copy
):
    _set_training_ids(questions_copy, ["t1", "t3", "t5", "t7"])
    line = refuses_to_quantize(data=questions_copy)
    assert "calibration never reached 'vision.0.attn_in'" in line
    assert "images" in line


def test_an_image_that_is_missing(refuses_to_quantize, questions_copy):
    (questions_copy / IMAGE).unlink()
    line = refuses_to_quantize(*ALL, data=questions_copy)
    assert "t0/image.png' does not exist" in line


def test_an_image_that_was_cut_short(refuses_to_quantize, questions_copy):
    image = questions_copy / IMAGE
    image.write_bytes(image.read_bytes()[:200])
    line = refuses_to_quantize(*ALL, data=questions_copy)
    assert "sample train/t0" in line
    assert "is corrupt or cut short" in line


def test_an_image_that_is_none(refuses_to_quantize, questions_copy):
    (questions_copy / IMAGE).write_text("<svg/>")
    assert "is not an image of a known format" in refuses_to_quantize(*ALL, data=questions_copy)


def test_a_header_of_ten_gigapixels(refuses_to_quantize, questions_copy):
    (questions_copy / IMAGE).write_bytes(_png_header(100_000, 100_000))
    line = refuses_to_quantize(*ALL, data=questions_copy)
    assert "100000 x 100000 pixels" in line or "too many pixels to be safe" in line


def test_a_text_that_holds_the_image_placeholder(refuses_to_quantize, questions_copy):
    edit_problem(questions_copy, "t1", question="What does <image> mean?")
    line = refuses_to_quantize(*ALL, data=questions_copy)
    assert "sample train/t1: its text contains '<image>'" in line


@pytest.mark.parametrize("placeholders", [0, 2])
def test_a_chat_template_that_loses_the_image(refuses_to_quantize, model_copy, placeholders):
    (model_copy / "chat_template.jinja").write_text(
        "{% for m in messages %}" + "<image>" * placeholders + "{% for p in m['content'] "
        "if p['type'] == 'text' %}{{ p['text'] }}{% endfor %}{% endfor %}"
    )
    line = refuses_to_quantize(*ALL, model=model_copy)
    assert f"renders {placeholders} image placeholders" in line
    assert "chat template" in line


def test_questions_that_are_not_json(refuses_to_quantize, questions_copy):
    (questions_copy / "problems.json").write_text('{"t0": ')
    assert "problems.json' is not JSON" in refuses_to_quantize(data=questions_copy)


@pytest.mark.parametrize("source", ["scienceqa:", ""])
def test_evaluation_on_questions_that_were_calibrated_on(qvlm, quantized, questions, source):
    outcome = qvlm("evaluate", quantized, "--data", f"{source}{questions}", "--split", "train")
    assert outcome.code == 2
    assert len(outcome.complaints) == 1
    assert "are used for calibration and for scoring" in outcome.complaints[0]


def test_an_unknown_arithmetic(qvlm, quantized, questions):
    outcome = qvlm("evaluate", quantized, "--data", questions, "--arithmetic", "integers")
    assert outcome.code == 2
    assert "did you mean 'integer'?" in outcome.complaints[0]


def _set_training_ids(root: Path, ids: list[str]) -> None:
    path = root / "pid_splits.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "train": ids}))


def _png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that promises width x height pixels."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(b"\0" * 64)
    chunks = b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in (body, data, b"IEND")
    )
    return b"\x89PNG\r\n\x1a\n" + chunks
