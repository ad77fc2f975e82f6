from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from qvlm.errors import RecipeError
from qvlm.schemes import Recipe, dump_recipe, load_recipe, preset_names

PRESETS = (
    "paper-w4a4", "paper-w6a6", "w4a16", "w4a16-symmetric", "w4a4", "w4a4-small", "w4a4-static",
    "w4a8", "w6a6", "w6a6-static", "w8a8", "w8a8-dynamic", "w8a8-static",
)  # fmt: skip


def complaint(name: str | Path | Recipe, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe(name, overrides)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


def test_the_presets() -> None:
    assert preset_names() == PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_what_its_name_says_and_survives_a_round_trip(name: str, file: Path) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    for scheme in (recipe.language, recipe.projector, recipe.vision):
        assert scheme is not None
        assert scheme.label.lower() == name.removeprefix("paper-").partition("-")[0]
    assert (recipe.lm_head is None) == (name != "w4a4-small")
    file.write_text(dump_recipe(recipe))
    assert load_recipe(file) == recipe


def test_a_preset_may_have_a_base() -> None:
    small, base = load_recipe("w4a4-small"), load_recipe("w4a4")
    assert small.lm_head is not None
    assert small.lm_head.label == "W8A8"
    assert small.embeddings is not None
    assert small.embeddings.bits == 4
    rest = {"name", "description", "lm_head", "embeddings"}
    assert small.model_dump(exclude=rest) == base.model_dump(exclude=rest)


@pytest.mark.parametrize("name", ["w4a4-static", "w6a6-static", "paper-w6a6", "paper-w4a4"])
def test_the_language_model_is_static_per_channel_and_vision_per_token(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.language is not None
    assert recipe.vision is not None
    assert recipe.language.activations.granularity == "per_channel"
    assert recipe.language.activations.is_static
    assert recipe.vision.activations.granularity == "per_token"


def test_a_dump_holds_every_field_even_defaults(file: Path) -> None:
    odd = Recipe(name="yes", description="a: b # c", exclude=(r"re\.1$", "#"), seed=7, vision=None)
    text = dump_recipe(odd)
    assert "percentiles: [1.0, 0.995, 0.99, 0.985, 0.98]" in text
    assert "group_size_fallback: error" in text
    file.write_text(text)
    assert load_recipe(file) == odd


def test_overrides_are_yaml_and_apply_from_left_to_right() -> None:
    recipe = load_recipe(
        "w4a4",
        [
            "partition.depth=2",
            "partition.depth=1",
            "vision=null",
            "search.percentiles=[1.0, 0.9]",
            "language.weights={group_size: 64, symmetric: true}",
        ],
    )
    assert recipe.partition.depth == 1
    assert recipe.vision is None
    assert recipe.search.percentiles == (1.0, 0.9)
    assert recipe.language is not None
    assert (recipe.language.weights.group_size, recipe.language.weights.bits) == (64, 4)


def test_a_file_starts_from_its_base_and_changes_only_what_it_says(file: Path) -> None:
    file.write_text("base: w8a8\nlanguage:\n  activations:\n    bits: 6\n")
    recipe, base = load_recipe(file), load_recipe("w8a8")
    assert recipe.name == "mine"
    assert recipe.language is not None
    assert recipe.language.label == "W8A6"
    assert recipe.vision == base.vision


def test_a_recipe_passes_through_with_its_overrides() -> None:
    recipe = Recipe(name="mine", seed=3)
    assert load_recipe(recipe) is not None
    assert load_recipe(recipe) == recipe
    assert load_recipe(recipe, ["seed=4"]) == recipe.model_copy(update={"seed": 4})


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["serch.depth=2"],
            "override 'serch.depth=2': unknown field 'serch.depth' "
            "(did you mean 'partition.depth'?)",
        ),
        (
            ["language.weights.bit=3"],
            "override 'language.weights.bit=3': unknown field 'language.weights.bit' "
            "(did you mean 'language.weights.bits'?)",
        ),
        (["zzz=3"], "override 'zzz=3': unknown field 'zzz'"),
        (["seed.x=1"], "override 'seed.x=1': field 'seed' takes one value, not a section"),
        (
            ["seed"],
            "override 'seed': write it as field=value, for instance partition.depth=2",
        ),
        (["seed=1\nname: x"], "override 'seed=1\\nname: x': the value must be one line of YAML"),
        (
            ["language.weights.bits=9"],
            "recipe 'w4a4': language.weights.bits: 9 bits are not supported: "
            "use 2 to 8, or 16 for floating point",
        ),
        (
            ["language.weights.bits=16"],
            "recipe 'w4a4': language: weights of 16 bits leave nothing to quantize: "
            "name the layers in `exclude` instead",
        ),
        (
            ["search.strategy=greedy"],
            "recipe 'w4a4': search.strategy = 'greedy' should be 'coordinate', 'exhaustive', "
            "'beam' or 'none'",
        ),
        (
            ["calibration.samples=1"],
            "recipe 'w4a4': calibration.samples = 1 should be greater than or equal to 2",
        ),
        (["language=3"], "recipe 'w4a4': language = 3 should be a section with fields of its own"),
        (
            ['exclude=["("]'],
            "recipe 'w4a4': exclude: '(' is not a regular expression: "
            "missing ), unterminated subpattern at position 0",
        ),
    ],
    ids=lambda value: value[0].splitlines()[0] if isinstance(value, list) else "",
)
def test_overrides_that_cannot_be_used(overrides: list[str], message: str) -> None:
    assert complaint("w4a4", *overrides) == message


def test_two_wrong_values_are_both_named() -> None:
    assert complaint("w4a4", "seed=abc", "partition.depth=0") == (
        "recipe 'w4a4': partition.depth = 0 should be greater than or equal to 1; "
        "seed = 'abc' should be a valid integer, unable to parse string as an integer"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected fields, one `name: value` a line"),
        ("[1, 2]", "expected fields, one `name: value` a line"),
        ("seed: 1\nseed: 2", "line 2: field 'seed' is given twice"),
        ("vision:\n  weights: {bits: 4, bits: 8}", "line 2: field 'bits' is given twice"),
        ("name: &a x\ndescription: *a", "line 2: aliases are not supported"),
        ("[1]: 2", "line 1: a field name is one word"),
        (
            "seed: 1\n---\nseed: 2",
            "line 2: expected a single document in the stream, but found another document",
        ),
        ("sead: 1", "unknown field 'sead' (did you mean 'seed'?)"),
        (
            "base: w8a7",
            f"unknown base 'w8a7' (did you mean 'w8a8'?): use {', '.join(PRESETS)} or a YAML file",
        ),
        ("seed: 2021-99-99", "not YAML: month must be in 1..12"),
        ("a: " + "[" * 5000, "not YAML: nested too deeply"),
        ("name: " + "x" * 1_000_000, "larger than 1 MB, so not a recipe"),
        (
            "seed: !!python/object/apply:os.getpid []",
            "line 1: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object/apply:os.getpid'",
        ),
    ],
    ids=range(13),
)
def test_files_that_cannot_be_used(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    assert complaint(file) == f"recipe '{file}': {message}"


def test_files_that_cannot_be_read(file: Path) -> None:
    assert complaint(str(file)) == f"recipe '{file}': no such file"
    assert complaint(file.parent) == f"recipe '{file.parent}': cannot be read (Is a directory)"
    file.write_bytes(b"name: \xff")
    assert complaint(file) == f"recipe '{file}': not UTF-8 text (byte 6)"


def test_an_unknown_preset_names_the_nearest_and_all() -> None:
    assert complaint("w6a") == (
        f"unknown recipe 'w6a' (did you mean 'w6a6'?): use {', '.join(PRESETS)} or a YAML file"
    )


def test_reading_recipes_does_not_import_torch() -> None:
    code = (
        "import sys; from qvlm.schemes import load_recipe; load_recipe('w4a4'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
