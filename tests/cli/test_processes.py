"""Verbs that are the work of one process, under torchrun."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def test_a_verb_of_one_process_refuses_to_be_one_of_several(tmp_path):
    outcome = subprocess.run(
        [sys.executable, "-m", "qvlm", "inspect", tmp_path],
        env={**os.environ, "RANK": "1", "WORLD_SIZE": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 2
    line = "process 1 of 2: inspect is done by one process: start it without torchrun"
    assert outcome.stderr == f"qvlm: {line}\n"


def test_a_process_number_that_cannot_be_is_said(tmp_path):
    outcome = subprocess.run(
        [sys.executable, "-m", "qvlm", "evaluate", tmp_path, "--data", "picoscience"],
        env={**os.environ, "RANK": "2", "WORLD_SIZE": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome.returncode == 2
    assert "RANK=2 of WORLD_SIZE=2 is no process: start with torchrun" in outcome.stderr
    assert outcome.stderr.count("\n") == 1


@pytest.mark.parametrize(("count", "said"), [("1", "done late "), ("2", "done ")])
def test_one_of_several_ends_at_once(count: str, said: str) -> None:
    """What it said is out, and nothing is taken down that could abort it."""
    program = (
        "import atexit; atexit.register(print, 'late', end=' ')\n"
        "from qvlm.processes import end_process; print('done', end=' '); end_process(3)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False,
        env={**os.environ, "RANK": "0", "WORLD_SIZE": count},
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (3, said)
