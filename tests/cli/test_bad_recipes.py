"""Recipes that cannot be used on a model: one clear line, exit code 2, nothing written."""

from __future__ import annotations

import pytest


def test_an_unknown_recipe(refuses_to_quantize):
    line = refuses_to_quantize(recipe="w4a44")
    assert "unknown recipe 'w4a44' (did you mean 'w4a4'?)" in line


def test_a_recipe_file_that_is_missing(refuses_to_quantize, tmp_path):
    assert "no such file" in refuses_to_quantize(recipe=tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("serach.strategy=beam", "unknown field 'serach.strategy' (did you mean 'search.strat"),
        ("language.weights.bit=4", "(did you mean 'language.weights.bits'?)"),
        ("language.weights.bits=9", "9 bits are not supported: use 2 to 8"),
        ("language.weights.bits=16", "weights of 16 bits leave nothing to quantize"),
        ("search.strategy=magic", "search.strategy = 'magic'"),
        ("search.strategy", "write it as field=value"),
        ("exclude=['(']", "is not a regular expression"),
        ("language.weights.group_size=0", "positive group_size"),
    ],
)  # fmt: skip
def test_a_field_that_cannot_be(refuses_to_quantize, override, part):
    assert part in refuses_to_quantize("--set", override)


def test_an_unknown_field_in_a_file(refuses_to_quantize, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: w4a4\nlanguag:\n  weights: { bits: 4 }\n")
    line = refuses_to_quantize(recipe=path)
    assert "unknown field 'languag.weights.bits'" in line
    assert "did you mean 'language.weights.bits'?" in line


def test_a_group_size_that_does_not_divide(refuses_to_quantize):
    line = refuses_to_quantize(
        "--set", "language.weights.group_size=48", "--set", "group_size_fallback=error"
    )
    assert "model.language_model.layers.0.self_attn.q_proj" in line
    assert "group size 48 does not divide a layer's input width 64: use 32" in line


def test_a_recipe_that_leaves_nothing(refuses_to_quantize):
    assert "leaves nothing to quantize" in refuses_to_quantize("--set", "exclude=['.']")


def test_an_option_that_does_not_exist(qvlm, tiny_model, tmp_path):
    outcome = qvlm("quantize", tiny_model, "--bits", 4, "--output", tmp_path / "out")
    assert outcome.code == 2
    assert "No such option: --bits" in outcome.stderr
    assert not (tmp_path / "out").exists()
