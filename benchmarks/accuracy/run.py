"""Accuracy of pico-llava on the 2,000 test questions, by bits and method.

Writes results/PRESET.json (a `Comparison`) and results/README.md. An argument names the presets
to run; without one all are run. All methods at w4a4, else the preset alone.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

from qvlm import machine, pipeline
from qvlm.artefacts.scores import Comparison
from qvlm.report import comparison_table, to_markdown
from qvlm.schemes.methods import METHODS, PROPOSED

PRESETS = ("w8a8", "w6a6", "w4a4", "w4a4-small")
HERE = Path(__file__).parent
RESULTS = HERE / "results"


def measure(preset: str) -> None:
    """Compares all methods at one preset and keeps the numbers."""
    work = Path("runs") / f"benchmark-{preset}"
    begin = time.perf_counter()
    methods = tuple(METHODS) if preset == "w4a4" else (PROPOSED,)
    comparison = pipeline.compare(
        "pico-llava", work, preset, batch_size=64, overwrite=True, methods=methods
    )
    record = {
        "comparison": comparison.model_dump(mode="json"),
        "seconds": time.perf_counter() - begin,
        "versions": machine.versions(),
        "machine": machine.description(),
    }
    (RESULTS / f"{preset}.json").write_text(json.dumps(record, indent=1) + "\n")
    shutil.copyfile(work / PROPOSED / "result.json", RESULTS / f"{preset}-result.json")


def tables() -> str:
    """All tables from the JSON that is there."""
    parts = ["# Accuracy of pico-llava, 2,000 PicoScience test questions\n"]
    for preset in PRESETS:
        path = RESULTS / f"{preset}.json"
        if path.is_file():
            record = json.loads(path.read_text())
            comparison = Comparison.model_validate(record["comparison"])
            about = record["machine"]
            parts.append(f"## {preset}\n")
            parts.append(to_markdown(comparison_table(comparison.rows)))
            parts.append(
                f"Measured with `python benchmarks/accuracy/run.py {preset}` on "
                f"{about['processor']}, {about['threads']} threads, torch "
                f"{record['versions']['torch']}, calibration seed 0, {record['seconds']:.0f} s.\n"
            )
    return "\n".join(parts)


if __name__ == "__main__":
    RESULTS.mkdir(exist_ok=True)
    for name in sys.argv[1:] or PRESETS:
        measure(name)
    (RESULTS / "README.md").write_text(tables())
