"""Every method side by side on one model: quantize, answer, measure.

    python benchmarks/rivals/run.py MODEL --source SOURCE --methods NAME ... --widths w4a4 ... \
        --seeds 0 1 2 --questions N --output benchmarks/rivals/results/NAME.json

Needs the extra `rivals`. A cell (method, width, seed) is a process of its own, so that its peak
memory is its own. What the file holds already is not measured again; a cell that failed is, and
what it said last is kept until then. `table.py` turns the files into docs/results.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from methods import FULL_PRECISION, METHODS, WIDTHS

from qvlm.errors import OutputError, QvlmError, nearest

HERE = Path(__file__).parent


def main() -> None:
    args = _arguments()
    try:
        failed = run(args)
    except QvlmError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    if failed:
        sys.exit(f"{failed} cells failed: '{args.output}' says why; run again to repeat them")


def run(args: argparse.Namespace) -> int:
    """Measures what is missing; returns how many cells failed."""
    setting = {
        "model": args.model,
        "source": args.source.partition(":")[0],
        "split": args.split,
        "samples": args.samples,
        "questions": args.questions,
        "text": args.text,
    }
    record = _record(args.output, setting)
    reference = reference_of(args.output)
    common = setting | {"source": args.source, "reference": str(reference)}
    failed = 0
    if not reference.is_file() or "columns" not in record[FULL_PRECISION]:
        request = common | {"method": FULL_PRECISION, "width": None, "seed": 0}
        record[FULL_PRECISION] = measured(request)
        write(args.output, record)
        if "error" in record[FULL_PRECISION]:
            raise OutputError(f"full precision failed: {record[FULL_PRECISION]['error']}")
    for method, width, seed in _cells(args):
        runs = record["cells"].setdefault(method, {}).setdefault(width, {})
        if "error" not in runs.get(str(seed), {"error": "not there"}):
            continue
        print(f"{method}, {width}, seed {seed} ...", flush=True)
        cell = measured(common | {"method": method, "width": width, "seed": seed})
        runs[str(seed)] = cell
        failed += "error" in cell
        write(args.output, record)
        print(f"{method}, {width}, seed {seed}: {_line(cell)}", flush=True)
    return failed


def reference_of(output: Path) -> Path:
    """Where the full-precision distributions that a file of results refers to are kept."""
    digest = hashlib.sha256(str(output.resolve()).encode()).hexdigest()
    return Path("runs", "rivals", f"{output.stem}-{digest[:8]}.safetensors").resolve()


def measured(request: dict[str, Any]) -> dict[str, Any]:
    """Runs one cell and returns its figures, or `error` with the last line that it said."""
    with tempfile.TemporaryDirectory() as folder:
        output, log = Path(folder) / "cell.json", Path(folder) / "log"
        with log.open("wb") as stream:
            command = [sys.executable, str(HERE / "cell.py"), json.dumps(request), str(output)]
            done = subprocess.run(command, stdout=stream, stderr=stream, check=False)
        if done.returncode == 0:
            figures: dict[str, Any] = json.loads(output.read_text())
            return figures
        text = log.read_text(errors="replace").strip()
        print(text[-4000:], file=sys.stderr)
        return {"error": text.splitlines()[-1] if text else f"exit code {done.returncode}"}


def write(path: Path, record: dict[str, Any]) -> None:
    """Replaces the file at once, so that an interruption leaves the old or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(record, indent=1) + "\n")
    new.replace(path)


def _record(path: Path, setting: dict[str, Any]) -> dict[str, Any]:
    if not path.is_file():
        return {**setting, FULL_PRECISION: {}, "cells": {}}
    try:
        record: dict[str, Any] = json.loads(path.read_text())
    except ValueError as error:
        raise OutputError(f"'{path}' is no JSON ({error}): choose another file") from error
    for name, value in setting.items():
        if record.get(name) != value:
            raise OutputError(
                f"'{path}' holds {name} {record.get(name)!r}, not {value!r}: choose another file"
            )
    return record


def _cells(args: argparse.Namespace) -> Iterator[tuple[str, str, int]]:
    """Seed by seed, so that an interrupted run leaves whole columns."""
    for seed in args.seeds:
        for width in args.widths:
            for method in args.methods:
                if METHODS[method].draws or seed == args.seeds[0]:
                    yield method, width, seed


def _line(cell: dict[str, Any]) -> str:
    if "error" in cell:
        return f"failed: {cell['error']}"
    if "not_applicable" in cell:
        return f"n/a: {cell['not_applicable']}"
    rss = cell["peak_rss_bytes"] / 2**20
    return (
        f"{cell['columns']['Avg']:.2f} %, KL {cell['kl']:.4f}, quantized in "
        f"{cell['quantize_seconds']:.0f} s with {rss:.0f} MiB"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("--source", default="picoscience")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), type=_method)
    parser.add_argument("--widths", nargs="+", default=list(WIDTHS), choices=WIDTHS)
    parser.add_argument("--seeds", nargs="+", default=[0, 1, 2], type=int)
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--split", default="test")
    parser.add_argument("--questions", type=int, default=2000)
    parser.add_argument("--text", action="store_true", help="perplexity on plain text as well")
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def _method(name: str) -> str:
    if name not in METHODS:
        raise argparse.ArgumentTypeError(f"no method '{name}'{nearest(name, METHODS)}")
    return name


if __name__ == "__main__":
    main()
