"""Puts cells that several runs measured at the same time into one file of results.

    python benchmarks/rivals/merge.py results/NAME.json PART.json ...

A cell of a later part takes the place of an earlier one; one that failed, of none.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from methods import FULL_PRECISION, METHODS, WIDTHS
from run import write
from settings import check_alike

SAME = ("model", "source", "split", "samples", "questions", "text")


def merged(records: list[dict[str, Any]]) -> dict[str, Any]:
    """One record of all cells, in the order of the tables, with one of the full-precision runs.

    Raises:
        ValueError: the records are of different settings, or full precision answered otherwise.
    """
    check_alike(records, SAME)
    answers = [record[FULL_PRECISION]["columns"] for record in records]
    if answers.count(answers[0]) < len(answers):
        raise ValueError("full precision does not answer alike in all files")
    cells: dict[str, dict[str, dict[str, Any]]] = {}
    for record in records:
        for method, widths in record["cells"].items():
            for width, runs in widths.items():
                known = cells.setdefault(method, {}).setdefault(width, {})
                for seed, run in runs.items():
                    if "error" not in run or seed not in known:
                        known[seed] = run
    ordered = {
        method: {
            width: dict(sorted(cells[method][width].items()))
            for width in WIDTHS
            if cells[method].get(width)
        }
        for method in METHODS
        if method in cells
    }
    # A run that kept which questions it got right says more than one that did not.
    full = [record[FULL_PRECISION] for record in records]
    best = next((found for found in full if "credits" in found), full[0])
    return {**records[0], FULL_PRECISION: best, "cells": ordered}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("parts", type=Path, nargs="+")
    args = parser.parse_args()
    files = [args.target, *args.parts] if args.target.is_file() else args.parts
    write(args.target, merged([json.loads(file.read_text()) for file in files]))


if __name__ == "__main__":
    main()
