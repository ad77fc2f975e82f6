"""All methods side by side through the command line, as `make demo` does."""

from __future__ import annotations

import json

import pytest

from qvlm.cli.main import run
from qvlm.errors import DataError, RecipeError
from qvlm.pipeline import compare
from tiny.vqa import write_vqav2

METHODS = ["FP", "RTN per token", "RTN static", "layer-wise", "Q-VLM", "recipe"]


@pytest.fixture(scope="module")
def compared(tmp_path_factory, tiny_model, questions):
    output = tmp_path_factory.mktemp("compare") / "out"
    arguments = [
        "qvlm", "compare", tiny_model, "--recipe", "w4a4", "--calibration",
        f"scienceqa:{questions}", "--limit", "4", "--output", output, "--set",
        "calibration.samples=4", "--set", "search.budget=3",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr("sys.argv", [*map(str, arguments)])
        run()
    assert stop.value.code == 0
    return output


def test_every_method_on_the_same_questions(compared):
    comparison = json.loads((compared / "comparison.json").read_text())
    rows = {row["method"]: row for row in comparison["rows"]}
    assert list(rows) == METHODS
    assert comparison["baseline"] == "recipe"
    assert len({row["scores"]["settings"]["data_sha"] for row in rows.values()}) == 1
    assert {row["scores"]["total"] for row in rows.values()} == {4}
    assert len({row["float_bytes"] for row in rows.values()}) == 1
    for method, row in rows.items():
        assert (row["difference"] is None) == (method == "recipe"), method
        assert row["scheme"] == ("FP" if method == "FP" else "W4A4")
    for row in rows.values():
        if row["difference"] is not None:
            assert row["difference"]["count"] == 4


def test_bits_of_a_row_are_those_of_all_layers(tmp_path):
    # The output layer comes last and has other bits than the others.
    comparison = compare(
        "pico-llava", tmp_path / "out", "w4a4-small", limit=2, methods=("recipe",),
        overrides=("calibration.samples=2", "calibration.batch_size=2"),
    )  # fmt: skip
    assert [row.scheme for row in comparison.rows] == ["FP", "W4A4 + W8A8"]


def test_methods_are_what_their_names_say(compared):
    def result(name):
        return json.loads((compared / name / "result.json").read_text())

    per_token, static = result("rtn-per-token"), result("rtn-static")
    assert {layer["activation_granularity"] for layer in per_token["layers"]} == {"per_token"}
    assert {layer["percentile"] for layer in static["layers"]} == {None, 1.0}
    single = [
        block for tower in result("layer-wise")["blocks"]["towers"] for block in tower["blocks"]
    ]
    assert {block["stop"] - block["start"] for block in single} == {1}
    assert result("q-vlm")["blocks"]["proxy"] == "entropy"
    assert result("q-vlm")["recipe"]["search"]["strategy"] == "coordinate"
    assert result("recipe")["recipe"]["language"]["weights"]["rounding"] == "gptq"
    names = ("rtn-static", "layer-wise", "q-vlm", "recipe")
    drawn = {
        tuple(sorted(result(name)["calibration_ids"] + result(name)["guard_ids"])) for name in names
    }
    assert len(drawn) == 1


def test_the_table_is_written_for_people_too(compared):
    text = (compared / "comparison.md").read_text()
    for method in METHODS:
        assert f"| {method} |" in text
    assert not list(compared.parent.glob(".*"))


@pytest.mark.parametrize(
    ("methods", "complaint"),
    [(("Q-VLN",), "did you mean 'Q-VLM'"), (("RTN static",), "compared with 'recipe'")],
)
def test_methods_that_cannot_be_compared(tmp_path, methods, complaint):
    with pytest.raises(RecipeError, match=complaint):
        compare("pico-llava", tmp_path / "out", methods=methods)
    assert not list(tmp_path.iterdir())


def test_the_page_of_differences_is_written(compared):
    page = (compared / "examples.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "Of 4 questions, FP gets more credit for" in " ".join(page.split())


def test_a_split_without_answers_is_refused_before_the_work(tiny_model, tmp_path):
    data = f"vqav2:{write_vqav2(tmp_path / 'vqav2')}"
    with pytest.raises(DataError, match="split 'test-dev' has no public answers to compare by"):
        compare(tiny_model, tmp_path / "out", calibration=data, data=data, split="test-dev")
    assert not (tmp_path / "out").exists()
