"""Puts cells that several processes measured into one file of results.

    python benchmarks/ablation/merge.py results/NAME.json PART.json ...

A cell of a later part takes the place of an earlier one.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from variants import VARIANTS

SAME = ("model", "source", "width", "split", "questions", "threads")


def merged(records: list[dict[str, Any]]) -> dict[str, Any]:
    """One record of all cells, variants and seeds in order.

    Raises:
        ValueError: the records are of different settings.
    """
    first = records[0]
    runs: dict[str, dict[str, Any]] = {}
    for record in records:
        for name in SAME:
            if record[name] != first[name]:
                raise ValueError(f"{name} is {record[name]!r}, and {first[name]!r} in another file")
        for variant, cells in record["runs"].items():
            runs.setdefault(variant, {}).update(cells)
    ordered = {v: dict(sorted(runs[v].items())) for v in VARIANTS if runs.get(v)}
    return {**first, "runs": ordered}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("parts", type=Path, nargs="+")
    args = parser.parse_args()
    files = [args.target, *args.parts] if args.target.is_file() else args.parts
    record = merged([json.loads(file.read_text()) for file in files])
    args.target.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
