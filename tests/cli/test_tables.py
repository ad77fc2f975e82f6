"""What is piped into a file or `grep`: whole names, and nobody else's progress bars."""

from __future__ import annotations

import pytest


def test_no_name_is_broken_where_there_is_no_terminal(qvlm, quantized, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = qvlm("inspect", quantized).stdout.splitlines()
    (row,) = [line for line in lines if "language_model.layers.0.self_attn.q_proj" in line]
    assert "W4A4" in row


def test_columns_says_how_wide_tables_are(qvlm, quantized, monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, qvlm("inspect", quantized).stdout.splitlines())) <= 60


@pytest.mark.parametrize("verb", ["verify", "evaluate"])
def test_bars_of_libraries_stay_out_of_the_log(qvlm, tiny_model, questions, tmp_path, verb):
    data = f"scienceqa:{questions}"
    served = tmp_path / "served"
    made = qvlm(
        "quantize", tiny_model, "--recipe", "w8a8-dynamic", "--calibration", data,
        "--format", "compressed-tensors", "--output", served,
        "--set", "calibration.samples=4", "--no-verify",
    )  # fmt: skip
    assert made.code == 0, made.stderr
    options = ("--data", data, "--split", "test") if verb == "evaluate" else ()
    done = qvlm(verb, served, *options)
    assert done.code == 0, done.stderr
    assert done.complaints == []
