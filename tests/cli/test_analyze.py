"""`qvlm analyze` on the command line."""

from __future__ import annotations

import re

SMALL = (
    "--set", "calibration.samples=4", "--set", "calibration.batch_size=2",
    "--set", "search.budget=4", "--sweeps", "none",
)  # fmt: skip


def test_help_teaches(qvlm):
    outcome = qvlm("analyze", "--help")
    assert outcome.code == 0
    text = " ".join(outcome.stdout.split())
    for word in ("DED", "--sweeps", "depth,fixed,percentiles,eta", "--held-out", "--task"):
        assert word in text
    assert "qvlm analyze pico-llava --recipe w4a4-static --output runs/analysis" in text


def test_it_ends_with_tables_and_the_path_and_replaces_an_old_one(
    qvlm, tiny_model, questions, tmp_path
):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "analysis.json").write_text("{}")
    (tmp_path / "out" / "old.png").write_text("old")
    outcome = qvlm(
        "analyze", tiny_model, "--calibration", f"scienceqa:{questions}", "--held-out", 2,
        "--output", tmp_path / "out", "--overwrite", *SMALL,
    )  # fmt: skip
    assert outcome.code == 0, outcome.stderr
    assert outcome.complaints == []
    assert "R²" in outcome.stdout
    assert str(tmp_path / "out") in outcome.stdout
    assert re.search(r"joint: search: done", outcome.stderr)
    assert (tmp_path / "out" / "index.md").is_file()
    assert not (tmp_path / "out" / "old.png").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_bad_input_is_one_line(refused, tiny_model, questions, tmp_path):
    common = ("analyze", tiny_model, "--calibration", f"scienceqa:{questions}")
    output = ("--output", tmp_path / "out")
    assert "unknown sweep 'all'" in refused(*common, *output, "--sweeps", "all")
    assert "model 'nowhere' does not exist" in refused(
        "analyze", "nowhere", "--calibration", f"scienceqa:{questions}", *output, *SMALL
    )
    (tmp_path / "out").mkdir()
    assert "exists: choose another" in refused(*common, *output)
