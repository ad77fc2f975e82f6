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

# A shell starts background jobs with SIGINT ignored, and children inherit that.
PROGRAM = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    "from qvlm.cli.main import run; run()"
)
STAGES = ("observe", "search", "round", "export")


def test_ctrl_c_before_anything_is_finished(refuses_to_quantize, monkeypatch):
    _interrupt_at(monkeypatch, "load")
    assert refuses_to_quantize(code=130).startswith("interrupted")


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_during_a_stage(stops_quantizing, qvlm, monkeypatch, tmp_path, stage):
    searching = ("--set", "search.strategy=coordinate", "--set", "search.budget=4")
    with monkeypatch.context() as patch:
        _interrupt_at(patch, stage)
        assert stops_quantizing(*searching, code=130) == "interrupted: no output was written"
    assert qvlm("quantize", "--resume", tmp_path / "out", "--no-verify").code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_ctrl_c_keeps_the_old_output(stops_quantizing, monkeypatch, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "result.json").write_text("{}")
    _interrupt_at(monkeypatch, "observe")
    stops_quantizing("--overwrite", code=130)
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


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_download_is_not_waited_for(hub, model_copy, tmp_path, sent, code):
    with (model_copy / "model.safetensors").open("r+b") as stream:
        stream.truncate(64 << 20)
    hub.directories["tiny/large"] = model_copy
    hub.seconds_per_mib = 1.0
    command = [sys.executable, "-c", PROGRAM, "quantize", "tiny/large", "--output", "out"]
    cache = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home")}
    process = subprocess.Popen(
        command, cwd=tmp_path, env={**os.environ, **cache}, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        assert any(line.startswith("download MiB: 65") for line in process.stderr)
        process.send_signal(sent)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code, errors
    assert [line for line in errors.splitlines() if line.startswith("qvlm: interrupted")]
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_a_real_process(tiny_model, questions, tmp_path, sent, code):
    process = subprocess.Popen(
        [
            sys.executable, "-c", PROGRAM, "quantize", str(tiny_model),
            "--recipe", "w4a4-static", "--calibration", f"scienceqa:{questions}",
            "--output", str(tmp_path / "out"),
            "--set", "calibration.samples=8", "--set", "search.strategy=beam",
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        # The first block is searched after this; the beam takes long.
        started = tmp_path / "out.partial" / "steps" / "observe" / "language.2.safetensors"
        _wait_for(started.exists, process)
        time.sleep(0.3)
        process.send_signal(sent)
        _, complaint = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code, complaint
    assert complaint.splitlines()[-1].startswith("qvlm: interrupted")
    assert f"--resume {tmp_path / 'out'}`" in complaint.splitlines()[-1]
    assert "Traceback" not in complaint
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial"]


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
