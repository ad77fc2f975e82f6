"""What the documentation names exists: files, functions, commands, options, recipe fields."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import typer.main

from qvlm.cli.main import app
from qvlm.schemes import Recipe, VisionOptimizationSettings, load_recipe, preset_names

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")], key=lambda path: path.relative_to(ROOT)
)
pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


@pages
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pages
def test_files_and_functions_exist(page):
    named = re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)(?::(\w+))?`", page.read_text())
    for name, function in named:
        path = next((p for p in (ROOT / name, ROOT / "src/qvlm" / name) if p.is_file()), None)
        assert path is not None, name
        if function:
            assert function in _definitions(path), f"{name}:{function}"


@pages
def test_commands_and_options_exist(page):
    verbs = typer.main.get_command(app).commands
    for line in re.findall(r"(?:^    |`)qvlm ([a-z].*?)(?:`|#|$)", page.read_text(), re.MULTILINE):
        verb, *words = line.split()
        assert verb in verbs, line
        known = {option for parameter in verbs[verb].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


@pages
def test_recipes_can_be_loaded(page, tmp_path):
    text = page.read_text()
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)):
        path = tmp_path / f"recipe{number}.yaml"
        path.write_text(block)
        load_recipe(path)
    for override in re.findall(r"--set \"?([\w.]+=[^\"`\s]+)", text):
        load_recipe("w4a4", [override])


def test_the_recipe_page_names_every_field():
    text = (ROOT / "docs/how-to/write-a-recipe.md").read_text()
    fields = set(Recipe.model_fields) - {"name", "description"}
    for section in ("calibration", "partition", "search", "language"):
        kind = type(getattr(Recipe(), section))
        fields |= set(kind.model_fields)
    fields |= set(VisionOptimizationSettings.model_fields)
    for field in fields:
        assert re.search(rf"`\.?{field}`|\.{field}\b", text), field
    assert "`recipe.yaml`" in text


def test_the_recipe_page_shows_the_example():
    text = (ROOT / "docs/how-to/write-a-recipe.md").read_text()
    (block,) = re.findall(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    example = (ROOT / "examples/gentle-vision.yaml").read_text()
    assert example.endswith(block)


def test_the_readme_names_every_preset_and_verb():
    text = (ROOT / "README.md").read_text()
    for name in preset_names():
        assert f"`{name}`" in text
    for verb in set(typer.main.get_command(app).commands) - {"reference"}:
        assert f"qvlm {verb} " in text


def test_the_bit_stream_example_of_the_format():
    import torch

    from qvlm.numerics.packing import pack_bits

    assert "levels 1 2 3: bits 100 010 110, bytes\n`D1 00`" in (ROOT / "docs/format.md").read_text()
    packed = pack_bits(torch.tensor([[1, 2, 3]], dtype=torch.uint8), 3)
    assert packed.tolist() == [[0xD1, 0x00]]


def _definitions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {n.name for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
