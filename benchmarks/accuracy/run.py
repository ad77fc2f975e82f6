"""Accuracy by bits and method, every method's answers to the same test questions.

    python benchmarks/accuracy/run.py [PRESET ...]                       # pico-llava
    python benchmarks/accuracy/run.py --model smol-llava --source smolqa:DIR --limit 2000 w8a8

Writes results/PRESET.json (a `Comparison`) and results/README.md; of another model than pico-llava
results/MODEL-PRESET.json. Without a preset all are run. All methods at pico-llava's w4a4, else the
preset alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from pathlib import Path
from typing import Any

from qvlm import machine, pipeline
from qvlm.artefacts.scores import Comparison
from qvlm.report import comparison_table, to_markdown
from qvlm.schemes.methods import METHODS, PROPOSED

DEFAULT = "pico-llava"
PRESETS = ("w8a8", "w6a6", "w4a4", "w4a4-small")
HERE = Path(__file__).parent
RESULTS = HERE / "results"


def measure(model: str, source: str, limit: int | None, preset: str) -> None:
    """Compares the methods at one preset and keeps the numbers."""
    name = preset if model == DEFAULT else f"{model}-{preset}"
    work = Path("runs") / f"benchmark-{name}"
    begin = time.perf_counter()
    methods = tuple(METHODS) if name == "w4a4" else (PROPOSED,)
    comparison = pipeline.compare(
        model, work, preset, source, data=source, limit=limit, batch_size=64, overwrite=True,
        methods=methods,
    )  # fmt: skip
    record = {
        "comparison": comparison.model_dump(mode="json"),
        "seconds": time.perf_counter() - begin,
        "versions": machine.versions(),
        "machine": machine.description(),
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    shutil.copyfile(work / PROPOSED / "result.json", RESULTS / f"{name}-result.json")


def tables() -> str:
    """All tables from the JSON that is there."""
    parts = ["# Accuracy by bits and method\n"]
    for path in sorted(RESULTS.glob("*.json"), key=_place):
        record = json.loads(path.read_text())
        if "comparison" in record:
            name = f"{DEFAULT}-{path.stem}" if path.stem in PRESETS else path.stem
            parts += [f"## {name}\n", _table(record)]
    return "\n".join(parts)


def _place(path: Path) -> tuple[bool, int]:
    """pico-llava first; widest presets first."""
    preset = next((n for n, name in enumerate(PRESETS) if path.stem.endswith(name)), len(PRESETS))
    return path.stem not in PRESETS, preset


def _table(record: dict[str, Any]) -> str:
    comparison = Comparison.model_validate(record["comparison"])
    about = record["machine"]
    return to_markdown(comparison_table(comparison.rows)) + (
        f"\n`benchmarks/accuracy/run.py` on {about['processor']}, {about['threads']} thread(s), "
        f"torch {record['versions']['torch']}, calibration seed 0, {record['seconds']:.0f} s.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("presets", nargs="*", default=PRESETS)
    parser.add_argument("--model", default=DEFAULT)
    parser.add_argument("--source", default="picoscience")
    parser.add_argument(
        "--limit", type=int, help="that many questions, drawn by a fixed seed; else all"
    )
    args = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    for preset in args.presets:
        measure(args.model, args.source, args.limit, preset)
    (RESULTS / "README.md").write_text(tables())


if __name__ == "__main__":
    main()
