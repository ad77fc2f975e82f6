"""`qvlm evaluate --shots` with one seed and with several."""

from __future__ import annotations

from qvlm.artefacts.scores import ShotScores


def test_several_seeds_have_a_mean(qvlm, tiny_model, questions, tmp_path):
    outcome = qvlm(
        "evaluate", tiny_model, "--data", f"scienceqa:{questions}", "--shots", 1,
        "--shot-seed", 0, "--shot-seed", 5, "--answers", tmp_path / "a.jsonl",
        "--output", tmp_path / "scores.json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    assert outcome.complaints == []
    assert "seed 5" in outcome.stdout and "mean" in outcome.stdout
    scores = ShotScores.model_validate_json((tmp_path / "scores.json").read_text())
    assert [run.settings.shot_seed for run in scores.runs] == [0, 5]
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"a.seed-0.jsonl", "a.seed-5.jsonl", "scores.json"}


def test_several_seeds_need_a_file(refused, tiny_model, questions):
    line = refused(
        "evaluate", tiny_model, "--data", f"scienceqa:{questions}", "--shots", 1,
        "--shot-seed", 0, "--shot-seed", 1,
    )  # fmt: skip
    assert "several shot seeds need --answers" in line


def test_several_seeds_need_shots(refused, tiny_model, questions, tmp_path):
    line = refused(
        "evaluate", tiny_model, "--data", f"scienceqa:{questions}", "--shot-seed", 0,
        "--shot-seed", 1, "--answers", tmp_path / "a",
    )  # fmt: skip
    assert "show some (--shots)" in line
