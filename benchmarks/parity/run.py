"""Do qvlm's scorers give what the published programs give? Writes `results.json`.

    make parity

runs this where those programs are installed (see README.md). The cases are made by a seed, out of
what the programs' rules name: contractions, articles, words of numbers, signs, commas and periods
in numbers, letters in every form, answers of ten people of whom many agree. A difference that no
README of a task documents fails the run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import figures
import prompts
import scienceqa
import vqa
from difference import Check
from published import published
from words import Words

from qvlm.machine import versions

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=20_000, help="of every check on texts")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=HERE / "results.json")
    args = parser.parse_args()
    found = compared(args.cases, args.seed)
    for check in found:
        print(f"{check.package:17} {check.what:55} {check.differ:6} of {check.cases:6} differ")
    packages = sorted({check.package for check in found})
    record = {
        "seed": args.seed,
        "versions": versions() | {name: metadata.version(name) for name in packages},
        "checks": [asdict(check) for check in found],
    }
    args.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    failed = [check for check in found if check.failed]
    for check in failed:
        print(f"error: {check.what}, {check.package}: {check.examples}", file=sys.stderr)
    sys.exit(bool(failed))


def compared(cases: int, seed: int) -> list[Check]:
    """All checks, each with `cases` texts; figures with a tenth of that."""
    table = published("open_flamingo.eval.vqa_metric").VQAEval(None, None).contractions
    words = Words(seed, (*table, *table.values()))
    with tempfile.TemporaryDirectory() as folder:
        places = [Path(folder) / name for name in ("vqa", "scienceqa")]
        for place in places:
            place.mkdir()
        return [
            *vqa.checks(words, cases, places[0]),
            *scienceqa.checks(words, cases // 10, places[1]),
            *prompts.checks(words, cases),
            *figures.checks(words, cases // 10),
        ]


if __name__ == "__main__":
    main()
