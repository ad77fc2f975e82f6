"""Verbs that are the work of one process, under torchrun."""

from __future__ import annotations

import os
import subprocess
import sys


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
