"""Ctrl-C at any stage: exit code 130, one line, and nothing half-written."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qvlm.cli import progress

STAGES = ("load", "observe", "search", "round", "export")


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_during_a_stage(refuses_to_quantize, monkeypatch, stage):
    _interrupt_at(monkeypatch, stage)
    searching = ("--set", "search.strategy=coordinate")
    assert refuses_to_quantize(*searching, code=130).startswith("interrupted")


def test_ctrl_c_keeps_the_old_output(refuses_to_quantize, monkeypatch, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "result.json").write_text("{}")
    _interrupt_at(monkeypatch, "observe")
    refuses_to_quantize("--overwrite", code=130)
    assert (tmp_path / "out" / "result.json").read_text() == "{}"


def test_an_interrupted_evaluation_goes_on_from_its_answers(
    qvlm, monkeypatch, quantized, questions, tmp_path
):
    answers, scores = tmp_path / "answers.jsonl", tmp_path / "scores.json"
    command = ("evaluate", quantized, "--data", questions, "--batch-size", 2, "--answers", answers)
    with monkeypatch.context() as patch:
        _interrupt_at(patch, "evaluate", done=3)  # three have an image: a batch of 2 and one of 1
        interrupted = qvlm(*command, "--output", scores)
    assert interrupted.code == 130
    assert not scores.exists()
    assert len(answers.read_text().splitlines()) == 1 + 3
    assert qvlm(*command, "--output", scores).code == 0
    assert '"resumed": 3' in scores.read_text()


def test_sigint_to_a_real_process(tiny_model, questions, tmp_path):
    # A shell starts background jobs with SIGINT ignored, and children inherit that.
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    program = f"{listen}; from qvlm.cli.main import run; run()"
    process = subprocess.Popen(
        [
            sys.executable, "-c", program, "quantize", str(tiny_model),
            "--calibration", f"scienceqa:{questions}", "--output", str(tmp_path / "out"),
            "--set", "calibration.samples=8", "--set", "search.strategy=beam",
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        # The hidden directory is made right before the model is loaded; the beam takes long.
        _wait_for(lambda: any(tmp_path.iterdir()), process)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, complaint
    assert complaint.splitlines()[-1].startswith("qvlm: interrupted")
    assert "Traceback" not in complaint
    assert not list(tmp_path.iterdir())


def _interrupt_at(monkeypatch: pytest.MonkeyPatch, stage: str, done: int = 1) -> None:
    @contextlib.contextmanager
    def display():
        def report(current: str, finished: int, total: int, note: str = "") -> None:
            if current == stage and finished >= done:
                raise KeyboardInterrupt

        yield report

    monkeypatch.setattr(progress, "progress_display", display)


def _wait_for(condition, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_message_speaks_of_files_that_stay(qvlm, monkeypatch, tmp_path: Path):
    def interrupt(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("qvlm.pipeline.evaluate", interrupt)
    assert "--answers keeps its lines" in qvlm("evaluate", tmp_path).stderr
