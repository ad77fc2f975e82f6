"""An output directory is complete or absent, whatever goes wrong; an old one stays as it was."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from qvlm.artefacts import tensors

NO_SEARCH = "search.strategy=none"
FULL = "Error while serializing: I/O error: No space left on device (os error 28)"


def test_an_output_that_exists(refuses_to_quantize, tmp_path):
    old = _old_run(tmp_path / "out")
    assert "exists: choose another, or pass --overwrite" in refuses_to_quantize()
    assert old.read_text() == "old"


def test_overwriting_replaces_the_whole_directory(qvlm, tmp_path, tiny_model, questions):
    old = _old_run(tmp_path / "out")
    outcome = qvlm(*_quantize(tiny_model, questions, tmp_path / "out"), "--overwrite")
    assert outcome.code == 0, outcome.stderr
    assert not old.exists()
    assert (tmp_path / "out" / "qvlm.safetensors").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert str(tmp_path / "out") in outcome.stdout


def test_a_failed_run_keeps_the_old_output(refuses_to_quantize, tmp_path, monkeypatch):
    old = _old_run(tmp_path / "out")
    _break(monkeypatch, SafetensorError(FULL))
    assert "no space left" in refuses_to_quantize("--overwrite", "--set", NO_SEARCH)
    assert old.read_text() == "old"


def test_an_old_output_comes_back_when_the_new_one_cannot_take_its_place(
    stops_quantizing, tmp_path, monkeypatch
):
    old = _old_run(tmp_path / "out")
    replace = Path.replace

    def fail(self, target):
        if self.name == "output":
            raise PermissionError(1, "Operation not permitted")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail)
    assert "cannot write output" in stops_quantizing("--overwrite", "--set", NO_SEARCH)
    assert old.read_text() == "old"


@pytest.mark.parametrize("name", ["model", "files"])
def test_only_outputs_of_qvlm_are_overwritten(refuses_to_quantize, model_copy, tmp_path, name):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "thesis.tex").write_text("years")
    line = refuses_to_quantize("--overwrite", model=model_copy, output=tmp_path / name)
    assert "holds other files than a run of qvlm" in line


@pytest.mark.parametrize("options", [(), ("--overwrite",)])
def test_an_output_that_is_a_file(refuses_to_quantize, tmp_path, options):
    (tmp_path / "out").write_text("mine")
    refuses_to_quantize(*options)
    assert (tmp_path / "out").read_text() == "mine"


def test_an_output_below_a_file(refuses_to_quantize, tmp_path):
    (tmp_path / "file").write_text("")
    line = refuses_to_quantize(output=tmp_path / "file" / "out")
    assert "cannot write output" in line


@pytest.mark.parametrize("name", ["nowhere/scores.json", "."])
def test_scores_that_could_not_be_written_are_refused_first(refused, quantized, tmp_path, name):
    line = refused("evaluate", quantized, "--output", tmp_path / name)
    assert "cannot write scores" in line


@pytest.mark.parametrize("verb", ["evaluate", "score"])
def test_scores_that_exist_are_kept_unless_told_otherwise(
    qvlm, tiny_model, questions, tmp_path, verb
):
    data = ("--data", f"scienceqa:{questions}")
    answers, scores = tmp_path / "answers.jsonl", tmp_path / "scores.json"
    assert qvlm("evaluate", tiny_model, *data, "--answers", answers).code == 0
    command = {
        "evaluate": ("evaluate", tiny_model, *data, "--answers", answers),
        "score": ("score", answers, *data),
    }[verb]
    scores.write_text("mine")
    line = qvlm(*command, "--output", scores)
    assert line.code == 2
    assert "exist: choose another file, or pass --overwrite" in line.stderr
    assert scores.read_text() == "mine"
    assert qvlm(*command, "--output", scores, "--overwrite").code == 0
    assert '"total": 6' in scores.read_text()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
def test_an_output_where_nobody_may_write(refuses_to_quantize):
    assert "cannot write output" in refuses_to_quantize(output="/proc/qvlm/out")


def test_a_name_that_is_too_long(refuses_to_quantize, tmp_path):
    assert "cannot write output" in refuses_to_quantize(output=tmp_path / ("x" * 250))


def test_parents_made_for_a_failed_run_are_removed(refuses_to_quantize, tmp_path):
    refuses_to_quantize("--set", "calibration.samples=99", output=tmp_path / "a" / "b" / "out")


def test_a_disk_that_fills_up_at_the_weights(refuses_to_quantize, monkeypatch):
    _break(monkeypatch, SafetensorError(FULL))
    assert "no space left for output" in refuses_to_quantize("--set", NO_SEARCH)


def test_a_disk_that_fills_up_at_the_result(stops_quantizing, monkeypatch):
    write = Path.write_text

    def fail(self, *args, **kwargs):
        if self.name == "result.json":
            raise OSError(28, "No space left on device")
        return write(self, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", fail)
    assert "no space left for output" in stops_quantizing("--set", NO_SEARCH)


def test_a_disk_that_is_really_full(stops_quantizing, qvlm, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount")
    try:
        line = stops_quantizing("--set", NO_SEARCH, output=disk / "out")
        assert "no space left for output" in line
        assert not (disk / "out").exists()
        subprocess.run(["mount", "-o", "remount,size=32m", str(disk)], check=True)
        assert qvlm("quantize", "--resume", disk / "out", "--no-verify").code == 0
        assert [path.name for path in disk.iterdir()] == ["out"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_failure_of_the_work_itself_is_exit_code_1(refuses_to_quantize, monkeypatch):
    _break(monkeypatch, RuntimeError("something odd\nwith details"))
    line = refuses_to_quantize("--set", NO_SEARCH, code=1)
    assert line == "RuntimeError: something odd (run `qvlm --debug ...` to see where)"


def test_a_full_gpu_says_what_helps(refuses_to_quantize, monkeypatch):
    _break(monkeypatch, torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."))
    line = refuses_to_quantize("--set", NO_SEARCH, code=1)
    assert "CUDA out of memory" in line
    assert "give --memory" in line


def test_a_gpu_that_is_not_there(refuses_to_quantize):
    if torch.cuda.is_available():
        pytest.skip("there is one")
    line = refuses_to_quantize("--device", "cuda")
    assert line == "device 'cuda' is not there: PyTorch sees no NVIDIA GPU"
    assert "use cpu or cuda" in refuses_to_quantize("--device", "tpu:x")


def test_nothing_is_foreseen_for_a_gpu(qvlm, tiny_model):
    outcome = qvlm("quantize", tiny_model, "--dry-run", "--device", "cuda")
    assert outcome.code == 2
    assert "leave out --device" in outcome.stderr.replace("\n", " ")


def _quantize(model: Path, questions: Path, output: Path) -> tuple[object, ...]:
    return (
        "quantize", model, "--calibration", f"scienceqa:{questions}", "--output", output,
        "--set", "calibration.samples=4", "--set", NO_SEARCH,
    )  # fmt: skip


def _old_run(directory: Path) -> Path:
    """An output of qvlm with a file that the next one would not have."""
    directory.mkdir()
    (directory / "result.json").write_text("{}")
    (directory / "notes.txt").write_text("old")
    return directory / "notes.txt"


def _break(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        raise error

    monkeypatch.setattr(tensors, "save_file", fail)
