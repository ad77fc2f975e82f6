"""Killed at any moment and resumed, a run writes the bytes that it would have written anyway."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import qvlm
from qvlm.artefacts.journal import LOG_NAME
from qvlm.errors import OutputError, ResumeError

OVERRIDES = (
    "calibration.samples=4", "calibration.batch_size=2",
    "search.strategy=coordinate", "search.start=lp", "search.budget=4",
)  # fmt: skip
CHECKPOINT = ("qvlm.safetensors", "quantization.json", "config.json", "recipe.yaml")
PROGRAM = Path(__file__).parents[1] / "tiny" / "killed.py"
KILLS = 24


def trials(
    model: Path, questions: Path, folder: Path, overrides: tuple[str, ...], points: list[str]
) -> list[dict[str, Any]]:
    """What `tiny/killed.py` saw, point by point; the first run is not killed."""
    arguments = [model, f"scienceqa:{questions}", folder, json.dumps(overrides), "0", *points]
    outcome = subprocess.run(
        [sys.executable, PROGRAM, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert outcome.returncode == 0, outcome.stderr
    return [json.loads(line) for line in outcome.stdout.splitlines()]


def check(found: list[dict[str, Any]], folder: Path) -> None:
    """Every run ended like the first, whatever happened to it on the way."""
    whole = found[0]["seen"][-1]["files"]
    for index, trial in enumerate(found):
        kills = len(trial["seen"]) - 1
        for state in trial["seen"]:
            assert state["files"] in ([], whole), "complete or absent at every moment"
        assert trial["seen"][-1] == {"lived": True, "files": whole}
        assert trial["work"] <= found[0]["work"] + kills, "a kill costs one layer or block at most"
        for name in CHECKPOINT:
            same = (folder / f"run{index}" / name).read_bytes()
            assert same == (folder / "run0" / name).read_bytes(), (trial["point"], name)
        assert not (folder / f"run{index}.partial").exists()


def test_a_killed_run_gives_the_same_bytes(tiny_model, questions, tmp_path):
    # In the observation, twice in the rounding, and near the last rename.
    points = ["0.2", "0.5,0.1", "0.98"]
    found = trials(tiny_model, questions, tmp_path, OVERRIDES[:2], points)
    check(found, tmp_path)
    assert [len(trial["seen"]) for trial in found] == [1, 2, 3, 2]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_kills_at_random_moments(tiny_model, questions, tmp_path):
    draw = random.Random(0)
    points = [f"{draw.random():.4f}" for _ in range(KILLS)]
    points += [f"{draw.random():.4f},{draw.random() / 2:.4f}" for _ in range(4)]
    found = trials(tiny_model, questions, tmp_path, OVERRIDES, points)
    check(found, tmp_path)
    assert sum(len(trial["seen"]) - 1 for trial in found) >= 20


@pytest.fixture
def interrupted(tiny_model, questions, tmp_path, model_copy, questions_copy):
    """An output whose run was interrupted after some steps, and the call that goes on."""
    output = tmp_path / "out"

    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "round" and done == 3:
            raise KeyboardInterrupt

    data = f"scienceqa:{questions_copy}"
    with pytest.raises(KeyboardInterrupt):
        qvlm.quantize(model_copy, "w4a4", data, output, overrides=OVERRIDES[:2], progress=stop)
    return output


def test_a_changed_ingredient_is_named(interrupted, model_copy, questions_copy):
    data, small = f"scienceqa:{questions_copy}", OVERRIDES[:2]
    with pytest.raises(ResumeError, match=r"recipe field 'seed' is not what .* \(0, now 1\)"):
        qvlm.quantize(
            model_copy, "w4a4", data, interrupted, overrides=(*small, "seed=1"), resume=True
        )
    image = next(questions_copy.rglob("image.png"))
    content = image.read_bytes()
    for other in questions_copy.rglob("image.png"):
        if other.read_bytes() != content:
            other.write_bytes(content)
    with pytest.raises(ResumeError, match="data 'calibration samples'"):
        qvlm.resume(interrupted)
    config = model_copy / "generation_config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(ResumeError, match=r"model file 'generation_config\.json'"):
        qvlm.resume(interrupted)
    assert (interrupted.with_name("out.partial") / "manifest.json").is_file()


def test_a_damaged_step_is_done_again(interrupted, questions, tmp_path, model_copy):
    steps = interrupted.with_name("out.partial") / "steps"
    step = steps / "round" / "vision.1.safetensors"
    content = bytearray(step.read_bytes())
    content[-1] ^= 1
    step.write_bytes(content)
    with (steps / LOG_NAME).open("a") as log:
        log.write('{"step": "cut off')
    with pytest.warns(UserWarning, match=r"step 'round/vision\.1' is damaged and is done again"):
        result = qvlm.resume(interrupted)
    assert result.resumed_steps == 6 + 3 - 1
    assert any("damaged" in warning for warning in result.warnings)
    qvlm.quantize(
        model_copy, "w4a4", f"scienceqa:{questions}", tmp_path / "again", overrides=OVERRIDES[:2]
    )
    for name in CHECKPOINT:
        assert (interrupted / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_an_export_is_resumed_as_one(tiny_model, questions, tmp_path):
    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "round" and done == 3:
            raise KeyboardInterrupt

    arguments: tuple[Any, ...] = (tiny_model, "w4a16-symmetric", f"scienceqa:{questions}")
    options: dict[str, Any] = {"overrides": OVERRIDES[:2], "format": "compressed-tensors"}
    with pytest.raises(KeyboardInterrupt):
        qvlm.quantize(*arguments, tmp_path / "broken", progress=stop, **options)
    assert not (tmp_path / "broken").exists()
    result = qvlm.resume(tmp_path / "broken")
    assert result.resumed_steps > 0
    qvlm.quantize(*arguments, tmp_path / "whole", **options)
    whole = {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*")}
    broken = {path.relative_to(tmp_path / "broken") for path in (tmp_path / "broken").rglob("*")}
    assert whole == broken
    assert {"run", "export.json"} < {path.name for path in whole}
    for path in whole:
        if path.suffix == ".safetensors" and path.name != "statistics.safetensors":
            same = (tmp_path / "broken" / path).read_bytes()
            assert same == (tmp_path / "whole" / path).read_bytes(), path


def test_another_run_must_not_touch_it(interrupted, model_copy, questions):
    data = f"scienceqa:{questions}"
    with pytest.raises(OutputError, match=r"was interrupted in '.*continue it with `qvlm quantize"):
        qvlm.quantize(model_copy, "w4a4", data, interrupted, overrides=OVERRIDES[:2])
    lock = "import fcntl, sys; f = open(sys.argv[1]); fcntl.flock(f, 2); print(flush=True); input()"
    path = interrupted.with_name("out.partial") / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", lock, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(OutputError, match="another run is at work"):
            qvlm.resume(interrupted)
        other.communicate(b"\n")


def test_nothing_to_resume(tmp_path, quantized_copy):
    for output in (tmp_path / "nowhere", quantized_copy):
        with pytest.raises(ResumeError, match="there is no interrupted run"):
            qvlm.resume(output)
