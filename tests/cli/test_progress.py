"""Progress as lines of a log."""

from __future__ import annotations

import pytest

from qvlm.cli.progress import Lines


def test_a_long_stage_is_not_silent(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines("evaluate", 0, 100)
    lines("evaluate", 10, 100, "50.0 %")
    lines.PAUSE = -1.0
    lines("evaluate", 20, 100, "55.0 %")
    lines("evaluate", 100, 100, "60.0 %")
    assert capsys.readouterr().err.splitlines() == [
        "evaluate: 100 steps",
        "evaluate: 20 of 100, 55.0 %",
        "evaluate: done (100), 60.0 %",
    ]
