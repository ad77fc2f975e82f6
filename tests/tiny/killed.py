"""Run quantizations that kill themselves at a given moment; a program of its own.

    python killed.py MODEL DATA FOLDER JSON-OF-OVERRIDES POINT...

Forks a process per run, so that the libraries are imported once. The point `0` is a run that is not
killed, and comes first; `0.2` is killed after a fifth of that run's events and then resumed;
`0.2,0.1` is killed again when it is resumed, after a tenth as many events.
Writes a line of JSON per point: what was there after every kill, and how often work was begun.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from qvlm import pipeline  # once, before the forks
from qvlm.artefacts import journal, tensors, workspace
from qvlm.errors import QvlmError
from qvlm.observe.tower import TowerObserver
from qvlm.search import round_tower, tower

WORK = "work"


class Events:
    """Counts moments and dies at one of them: around every write, sync and rename."""

    def __init__(self, fatal: int, log: Path) -> None:
        self._fatal, self._log, self.count = fatal, log, 0

    def tick(self) -> None:
        self.count += 1
        if self.count == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str, says: str = "") -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if says:
                with self._log.open("a") as log:
                    log.write(f"{says}\n")
            self.tick()
            outcome = original(*args, **kwargs)
            self.tick()
            return outcome

        setattr(owner, name, call)


def child(fatal: int, folder: Path, start: Callable[[], Any]) -> tuple[bool, int]:
    """Runs in a process of its own; True if it lived, and the events that it counted."""
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        events = Events(fatal, folder.with_suffix(".log"))
        for owner, name in (
            (os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir"),
            (tensors, "save_file"), (journal, "file_checksum"), (workspace.shutil, "rmtree"),
        ):  # fmt: skip
            events.around(owner, name)
        events.around(TowerObserver, "_observe", WORK)
        events.around(round_tower, "_round_layer", WORK)
        events.around(tower, "_choose", WORK)
        status = 1
        try:
            start()
            os.write(writer, str(events.count).encode())
            status = 0
        except QvlmError as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        finally:
            os._exit(status)
    os.close(writer)
    _, status = os.waitpid(process, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) != 0:
        raise SystemExit("a run failed")
    with os.fdopen(reader) as pipe:
        return os.WIFEXITED(status), int(pipe.read() or 0)


def trial(
    model: str, data: str, folder: Path, overrides: list[str], point: str, whole: int
) -> dict[str, Any]:
    """One run with its kills; what was seen on the way."""
    seen, events = [], 0

    def begin() -> None:
        pipeline.quantize(model, "w4a4-static", data, folder, overrides=overrides)

    def go_on() -> None:
        pipeline.resume(folder)

    for fatal in [*(round(float(part) * whole) for part in point.split(",")), 0]:
        steps = folder.with_name(f"{folder.name}.partial") / "steps" / journal.LOG_NAME
        begun = steps.is_file() and steps.stat().st_size
        lived, events = child(fatal, folder, go_on if begun or folder.is_dir() else begin)
        files = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
        seen.append({"lived": lived, "files": files})
        if lived:
            break
    log = folder.with_suffix(".log")
    return {
        "point": point,
        "seen": seen,
        "events": events,
        "work": len(log.read_text().splitlines()),
    }


def main() -> None:
    torch.set_num_threads(1)
    model, data, folder, overrides, *points = sys.argv[1:]
    whole = 0
    for index, point in enumerate(points):
        output = Path(folder) / f"run{index}"
        found = trial(model, data, output, json.loads(overrides), point, whole)
        whole = whole or found["events"]
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
