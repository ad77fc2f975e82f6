"""`qvlm reference build`: what it refuses, and that a model that is not built is told apart."""

from __future__ import annotations

import pytest

from tiny.fashion import tiny_smollm


def test_only_smol_llava_is_built(refused) -> None:
    line = refused("reference", "build", "smol-lava")
    assert "'smol-lava' is not built from parts (did you mean 'smol-llava'?)" in line


@pytest.mark.parametrize("name", ["nowhere", "lm.gguf", "lm.whl", "lm.bin"])
def test_a_wrong_language_model(refused, tmp_path, name) -> None:
    path = tmp_path / name
    if name != "nowhere":
        path.write_bytes(b"not it")
    line = refused("reference", "build", "smol-llava", "--output", tmp_path / "out", "--lm", path)
    assert str(path) in line or "gguf package" in line


def test_another_language_model(refused, tmp_path) -> None:
    for part in tiny_smollm():
        part.save_pretrained(tmp_path / "lm")
    line = refused(
        "reference", "build", "smol-llava", "--output", tmp_path / "out", "--lm", tmp_path / "lm"
    )
    assert "do not fit this language model" in line


def test_an_output_that_exists(refused, tmp_path) -> None:
    line = refused("reference", "build", "smol-llava", "--output", tmp_path)
    assert "exists already" in line


def test_quantizing_it_before_it_is_built(refuses_to_quantize, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("QVLM_CACHE", str(tmp_path / "cache"))
    line = refuses_to_quantize(model="smol-llava")
    assert "run `qvlm reference build smol-llava`" in line
