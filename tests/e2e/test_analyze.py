"""`analyze` as a whole, on the tiny model."""

from __future__ import annotations

import json
import shutil

import pytest

import qvlm
from qvlm.artefacts.analysis import Analysis
from qvlm.artefacts.store import read_json
from qvlm.data import open_source
from qvlm.errors import DataError, OutputError, QvlmError, RecipeError

OVERRIDES = ("calibration.samples=6", "calibration.batch_size=2", "search.budget=6")


@pytest.fixture(scope="module")
def run(tiny_model, questions, tmp_path_factory):
    output = tmp_path_factory.mktemp("analyze") / "out"
    analysis = qvlm.analyze(
        tiny_model, output, "w4a4-static", f"scienceqa:{questions}", overrides=OVERRIDES,
        sweeps="depth,eta", task="scienceqa",
    )  # fmt: skip
    return output, analysis


def timeless(analysis: Analysis) -> dict:
    """All figures but seconds."""
    fields = json.loads(analysis.model_dump_json())
    for name in ("seconds", "proxy_seconds"):
        del fields[name]
    for point in fields["points"]:
        del point["seconds"]
    return fields


def test_the_directory_is_complete(run):
    output, analysis = run
    assert read_json(output / "analysis.json", Analysis) == analysis
    for name in ("index.md", "ded.csv", "sweeps.csv", "ded.png", "ded-entropy.svg", "ranges.svg"):
        assert (output / name).is_file()
    assert [path.name for path in output.parent.iterdir()] == ["out"]
    assert any(note.startswith("the recipe does not search") for note in analysis.notes)
    assert analysis.recipe["search"]["strategy"] == "coordinate"


def test_layers_and_samples_are_all_there(run):
    _, analysis = run
    assert len(analysis.samples) == 4  # of six, two guard
    assert (len(analysis.ded), {len(row) for row in analysis.ded}) == (3, {4})
    images = [sample.has_image for sample in analysis.samples]
    assert images == sorted(images, reverse=True)
    assert [link.layer for link in analysis.links] == [0, 1]
    assert [(run.partition, run.depth) for run in analysis.depth_errors] == [
        ("recipe", 1), ("recipe", 2), ("recipe", 3), ("fixed", 2), ("fixed", 3),
    ]  # fmt: skip
    layerwise = analysis.depth_errors[0]
    for mean, row in zip(layerwise.errors, analysis.layerwise_errors, strict=True):
        assert mean == pytest.approx(sum(row) / len(row))


def test_both_proxies_cover_every_link_and_tell_their_cost(run):
    _, analysis = run
    assert len(analysis.entropy) == len(analysis.quantization_error) == 2
    assert analysis.proxy_forward_equivalents["entropy"] == 0
    assert analysis.proxy_forward_equivalents["quantization_error"] > 1
    assert min(analysis.proxy_seconds.values()) > 0


def test_held_out_samples_were_not_calibrated_on(run, questions):
    _, analysis = run
    held_out = set(analysis.held_out_ids)
    assert not held_out & {sample.key for sample in analysis.samples}
    # There is no split `val` here, so the training samples that calibration left over judge.
    assert held_out < {sample.key for sample in open_source(str(questions), "train")}
    assert len(held_out) == 2
    assert any("no split 'val'" in note for note in analysis.notes)


def test_a_val_split_judges_where_there_is_one(questions, tmp_path):
    from qvlm.pipeline.heldout import analysis_samples
    from qvlm.schemes import load_recipe

    copy = shutil.copytree(questions, tmp_path / "questions")
    splits = json.loads((copy / "pid_splits.json").read_text())
    (copy / "pid_splits.json").write_text(json.dumps({**splits, "val": ["1", "2", "3"]}))
    samples = analysis_samples(f"scienceqa:{copy}", load_recipe("w4a4-static", OVERRIDES), 2)
    assert len(samples.held_out) == 2
    assert {sample.id for sample in samples.held_out} <= {"1", "2", "3"}
    assert samples.notes == ()


def test_points_have_cost_and_quality(run):
    _, analysis = run
    assert [point.value for point in analysis.points] == [1, 2, 3, 4, 5]
    for point in analysis.points:
        assert point.forward_equivalents > 1
        assert point.quality.samples == 2
        assert point.quality.kl > 0
        assert 0 <= point.quality.generated_accuracy <= 100
    assert analysis.points[0].blocks > analysis.points[1].blocks


def test_no_eta_without_vision_optimization(run):
    output, analysis = run
    note = "no sweep over eta: the recipe does not optimize the vision tower"
    assert note in analysis.notes
    assert note in (output / "index.md").read_text()
    assert not (output / "sweep-eta.png").exists()


def test_a_second_run_finds_the_same(run, tiny_model, questions, tmp_path):
    again = qvlm.analyze(
        tiny_model, tmp_path / "again", "w4a4-static", f"scienceqa:{questions}",
        overrides=OVERRIDES, sweeps="depth,eta", task="scienceqa",
    )  # fmt: skip
    assert timeless(again) == timeless(run[1])


def test_an_existing_output_is_kept(run, tiny_model, questions):
    output, _ = run
    before = (output / "analysis.json").read_bytes()
    with pytest.raises(OutputError, match="exists: choose another, or pass --overwrite"):
        qvlm.analyze(tiny_model, output, "w4a4-static", f"scienceqa:{questions}")
    assert (output / "analysis.json").read_bytes() == before


@pytest.mark.parametrize(
    ("overrides", "sweeps", "message"),
    [
        (("partition.proxy=single_layer",), "none", "searches layer by layer"),
        (("partition.depth=1",), "none", "searches layer by layer"),
        (("language.activations.granularity=per_token",), "none", "no static ranges"),
        (("language=null",), "none", "no static ranges"),
        ((), "depht", r"unknown sweep 'depht' \(did you mean 'depth'\?\)"),
    ],
)
def test_what_cannot_be_analyzed_is_said_at_once(
    tiny_model, questions, tmp_path, overrides, sweeps, message
):
    with pytest.raises(QvlmError, match=message):
        qvlm.analyze(
            tiny_model, tmp_path / "out", "w4a4-static", f"scienceqa:{questions}",
            overrides=overrides, sweeps=sweeps,
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_no_sample_left_to_judge(tiny_model, questions, tmp_path):
    with pytest.raises(DataError, match=r"lower calibration\.samples"):
        qvlm.analyze(
            tiny_model, tmp_path / "out", "w4a4-static", f"scienceqa:{questions}",
            overrides=("calibration.samples=8",),
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_an_unknown_task_is_named(tiny_model, questions, tmp_path):
    with pytest.raises(QvlmError, match="task 'sciencqa' is unknown"):
        qvlm.analyze(
            tiny_model, tmp_path / "out", "w4a4-static", f"scienceqa:{questions}", task="sciencqa"
        )


def test_recipe_errors_are_recipe_errors():
    with pytest.raises(RecipeError):
        qvlm.analyze("pico-llava", "/nowhere/out", overrides=("language=null",))


def test_eta_is_swept_where_the_vision_tower_is_optimized(tiny_model, questions, tmp_path):
    analysis = qvlm.analyze(
        tiny_model, tmp_path / "out", "w4a4-static", f"scienceqa:{questions}", sweeps="eta",
        overrides=(
            *OVERRIDES, "search.strategy=coordinate", "search.start=lp", "search.max_sweeps=1",
            "vision_optimization.epochs=1", "vision_optimization.learning_rate=0.001",
        ),
    )  # fmt: skip
    assert [(point.sweep, point.value) for point in analysis.points] == [
        ("eta", 0.0), ("eta", 0.5), ("eta", 1.0), ("eta", 2.0),
    ]  # fmt: skip
    assert len({point.quality.kl for point in analysis.points}) > 1
    assert not any("no sweep over eta" in note for note in analysis.notes)
    assert any("the optimized tower" in note for note in analysis.notes)
    assert (tmp_path / "out" / "sweep-eta.svg").is_file()
