"""What `--dry-run` foresees against what then happens: memory, disk, seconds per stage.

    python benchmarks/estimates/run.py MODEL --output FILE [--memory 3GiB] [--samples N]

MODEL is `pico-llava`, `smol-llava`, a directory, or `llava-1.3b`, which is then written beside the
output (see ../at_size/checkpoint.py). The estimate and the run are each made in a process of their
own. Disk is the most that lay in OUTPUT.partial at any look; the looks take a fiftieth of the time
of one processor at most, since all threads of the run wait for the one that they disturb.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from at_size.checkpoint import ALL_SHAPES, write_checkpoint
from at_size.run import measured

PAUSE, SHARE = 0.02, 50
STAGES = ("observe", "round", "export")


def foresee(model: str, settings: dict[str, Any], folder: Path, answers: Any) -> None:
    from qvlm import machine
    from qvlm.pipeline import estimate

    found = estimate(model, folder=folder, **settings)
    answers.put(
        {
            "memory_bytes": found.memory_bytes,
            "disk_bytes": found.disk_bytes,
            "seconds": found.seconds,
            "measured_seconds": found.measured_seconds,
            "machine": machine.description(),
            "versions": machine.versions(),
        }
    )


def happen(model: str, settings: dict[str, Any], folder: Path, answers: Any) -> None:
    import qvlm

    disk = Watcher(folder)
    result = qvlm.quantize(model, output=folder / "run", **settings)
    seconds = {name: cost.seconds for name, cost in result.stages.items()}
    answers.put(
        {
            "memory_bytes": result.peak_rss_bytes,
            "disk_bytes": disk.most(),
            # The entropy is measured while observing.
            "seconds": {
                "observe": seconds["observe"] + seconds["dependency"],
                "round": seconds["round"],
                "export": seconds["export"],
            },
        }
    )


class Watcher:
    """The most bytes that lay in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._most, self._on = folder, 0, True
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def most(self) -> int:
        self._on = False
        self._thread.join()
        return self._most

    def _watch(self) -> None:
        while self._on:
            start = time.thread_time()
            self._most = max(self._most, self._size())
            time.sleep(max(PAUSE, SHARE * (time.thread_time() - start)))

    def _size(self) -> int:
        """Bytes at a look; 0 where something vanished meanwhile."""
        try:
            return sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
        except FileNotFoundError:
            return 0


def ratios(foreseen: dict[str, Any], happened: dict[str, Any]) -> dict[str, float]:
    """Foreseen over happened."""
    found = {name: foreseen[name] / happened[name] for name in ("memory_bytes", "disk_bytes")}
    for stage in STAGES:
        found[f"{stage} seconds"] = foreseen["seconds"][stage] / happened["seconds"][stage]
    totals = [sum(part["seconds"].values()) for part in (foreseen, happened)]
    return {**found, "total seconds": totals[0] / totals[1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--folder", type=Path, help="for the checkpoints; a temporary one")
    parser.add_argument("--recipe", default="w4a4")
    parser.add_argument("--calibration", default="picoscience")
    parser.add_argument("--memory")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=8)
    args = parser.parse_args()
    from qvlm.cli.parameters import memory_bytes

    model = args.model
    if model in ALL_SHAPES:
        model = str(write_checkpoint(model, (args.folder or args.output.parent) / model))
    settings = {
        "recipe": args.recipe,
        "calibration": args.calibration,
        "memory": memory_bytes(args.memory),
        "overrides": (
            f"calibration.samples={args.samples}", f"calibration.batch_size={args.batch_size}",
        ),
    }  # fmt: skip
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        foreseen = measured(foresee, model, settings, Path(folder))
        happened = measured(happen, model, settings, Path(folder))
    found = {
        "model": args.model,
        **{name: value for name, value in vars(args).items() if name in ("recipe", "memory")},
        "samples": args.samples,
        "batch_size": args.batch_size,
        "foreseen": foreseen,
        "happened": happened,
        "foreseen over happened": ratios(foreseen, happened),
    }
    args.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(found["foreseen over happened"], indent=1) + "\n")


if __name__ == "__main__":
    main()
