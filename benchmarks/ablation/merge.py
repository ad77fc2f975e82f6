"""Puts cells that several processes measured into one file of results.

    python benchmarks/ablation/merge.py results/NAME.json PART.json ...

A cell of a later part takes the place of an earlier one.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from settings import check_alike
from variants import VARIANTS

SAME = ("model", "source", "width", "split", "questions", "threads")


def merged(records: list[dict[str, Any]]) -> dict[str, Any]:
    """One record of all cells, variants and seeds in order.

    Raises:
        ValueError: the records are of different settings.
    """
    check_alike(records, SAME)
    runs: dict[str, dict[str, Any]] = {}
    for record in records:
        for variant, cells in record["runs"].items():
            runs.setdefault(variant, {}).update(cells)
    ordered = {v: dict(sorted(runs[v].items())) for v in VARIANTS if runs.get(v)}
    return {**records[0], "runs": ordered}


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
