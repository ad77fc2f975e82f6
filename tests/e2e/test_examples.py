"""The files in examples/ run as they are, on the tiny model."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

import qvlm
from qvlm.schemes import load_recipe

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = ("calibration.samples=4", "search.budget=4")


@pytest.fixture
def example(monkeypatch, capsys):
    """Runs an example with arguments; returns what it prints."""

    def call(name: str, *arguments: object) -> str:
        monkeypatch.setattr("sys.argv", [name, *map(str, arguments)])
        monkeypatch.delitem(vars(qvlm), "evaluate", raising=False)  # as in a fresh process
        capsys.readouterr()
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return call


def test_quantize_load_generate_score(example, tiny_model, questions, tmp_path):
    source, output = f"scienceqa:{questions}", tmp_path / "q"
    said = example("quantize_and_generate.py", tiny_model, source, output, *SMALL)
    assert said.startswith("35 layers: ")
    assert "Which one is right? -> '" in said
    said = example("score_and_inspect.py", output, source, 6)
    assert said.splitlines()[0].endswith("of 6")
    assert "language: layers " in said
    assert "W4A4" in said


def test_the_recipe_does_what_its_description_says(tiny_model, questions, tmp_path):
    path = EXAMPLES / "gentle-vision.yaml"
    recipe = load_recipe(path)
    assert recipe.name == "gentle-vision"
    overrides = ("calibration.samples=4", "search.strategy=none")
    result = qvlm.quantize(
        tiny_model, path, f"scienceqa:{questions}", tmp_path / "q", overrides=overrides
    )
    bits = {layer.path: (layer.weight_bits, layer.activation_bits) for layer in result.layers}
    assert {bits[path] for path in bits if "vision_tower" in path} == {(8, 8)}
    assert {bits[path] for path in bits if "language_model" in path} == {(4, 4)}
    excluded = [path for path, why in result.skipped.items() if "excluded by" in why]
    assert excluded == [
        f"model.language_model.layers.0.mlp.{name}_proj" for name in ("gate", "up", "down")
    ]
    blocks = [block for tower in result.blocks.towers for block in tower.blocks]
    assert max(block.stop - block.start for block in blocks) <= 2
    assert result.recipe["search"]["percentiles"] == [1.0, 0.99, 0.98]
    assert not result.warnings
