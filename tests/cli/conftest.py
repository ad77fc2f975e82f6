"""Run the command line in this process, and check what it says and leaves behind."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from qvlm.cli.main import run

_PROGRESS = re.compile(r"[\w .:-]+: (\d+ steps|done \(\d+\)(, [\d.]+ %)?)")
SMALL = ("--set", "calibration.samples=4", "--set", "calibration.batch_size=2")


@dataclass(frozen=True)
class Outcome:
    """What a command left: its exit code and its two streams."""

    code: int
    stdout: str
    stderr: str

    @property
    def complaints(self) -> list[str]:
        """Lines on stderr that are not about progress."""
        return [line for line in self.stderr.splitlines() if not _PROGRESS.fullmatch(line)]


Command = Callable[..., Outcome]
Refused = Callable[..., str]


@pytest.fixture
def qvlm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Calls `qvlm` with arguments."""

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["qvlm", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            run()
        captured = capsys.readouterr()
        code = stop.value.code
        return Outcome(code if isinstance(code, int) else 0, captured.out, captured.err)

    return call


@pytest.fixture
def refused(qvlm: Command, tmp_path: Path) -> Refused:
    """Calls `qvlm`, expects exit code 2, one line and no new file; returns the line."""

    def call(*arguments: object, code: int = 2) -> str:
        before = files(tmp_path)
        outcome = qvlm(*arguments)
        assert outcome.code == code, outcome.stderr
        assert len(outcome.complaints) == 1, outcome.stderr
        assert "Traceback" not in outcome.stderr
        assert files(tmp_path) == before
        return outcome.complaints[0].removeprefix("qvlm: ")

    return call


@pytest.fixture
def refuses_to_quantize(refused: Refused, tmp_path: Path, tiny_model: Path, questions: Path):
    """Calls `qvlm quantize` on the tiny model, one thing changed; returns the line."""

    def call(
        *options: object,
        model: object = tiny_model,
        recipe: object = "w4a4",
        data: Path = questions,
        output: object = tmp_path / "out",
        code: int = 2,
    ) -> str:
        return refused(
            "quantize", model, "--recipe", recipe, "--calibration", f"scienceqa:{data}",
            "--output", output, *SMALL, *options, code=code,
        )  # fmt: skip

    return call


@pytest.fixture
def stops_quantizing(qvlm: Command, tmp_path: Path, tiny_model: Path, questions: Path):
    """Calls `qvlm quantize` on the tiny model, expects it to end early and to keep what it has.

    Returns the one line that it says, without the hint how to go on.
    """

    def call(*options: object, output: Path = tmp_path / "out", code: int = 2) -> str:
        before = files(tmp_path)
        outcome = qvlm(
            "quantize", tiny_model, "--recipe", "w4a4-static",
            "--calibration", f"scienceqa:{questions}", "--output", output, *SMALL, *options,
        )  # fmt: skip
        assert outcome.code == code, outcome.stderr
        (line,) = outcome.complaints
        hint = f"; continue with `qvlm quantize --resume {output}`"
        assert line.endswith(hint)
        kept = str(output.with_name("out.partial").relative_to(tmp_path))
        assert {name for name in files(tmp_path) if not name.startswith(kept)} == before
        assert (tmp_path / kept / "manifest.json").is_file()
        return line.removeprefix("qvlm: ").removesuffix(hint)

    return call


def files(root: Path) -> set[str]:
    """Everything below a folder, hidden names included."""
    return {str(path.relative_to(root)) for path in root.rglob("*")}
