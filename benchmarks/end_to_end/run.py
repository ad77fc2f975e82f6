"""Speed and memory of whole models: full precision against W4A4 and W8A8, simulated and integer.

    python benchmarks/end_to_end/run.py [llava-0.5b llava-1.3b] [--new-tokens 32] \
        [--repeat 3] [--forms float32 integer] [--folder FOLDER]

Writes results/NAME/ (speed.json, speed.md, plots). Weights are random and rounded to nearest on 4
calibration samples: what is measured is time and memory, and these do not depend on them. Models
stay in FOLDER, where it is given, and are taken from there.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from shapes import SHAPES, write_model

import qvlm
from qvlm.pipeline import FORMS
from qvlm.report import to_markdown
from qvlm.report.speed import speed_table

HERE = Path(__file__).parent
QUICK = (
    "calibration.samples=4",
    "calibration.batch_size=1",
    *(f"{tower}.weights.rounding=nearest" for tower in ("language", "projector", "vision")),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shapes", nargs="*", default=list(SHAPES))
    parser.add_argument("--widths", nargs="+", default=["w4a4", "w4a4-small", "w8a8"])
    parser.add_argument("--new-tokens", type=int, default=32)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--forms", nargs="+", default=list(FORMS), choices=FORMS)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_intermixed_args()
    for name in args.shapes:
        with tempfile.TemporaryDirectory() as folder:
            root = args.folder or Path(folder)
            model = root / name
            if not model.is_dir():
                write_model(name, model)
            runs = [root / f"{name}-{width}" for width in args.widths]
            for run, width in zip(runs, args.widths, strict=True):
                if not run.is_dir():
                    qvlm.quantize(model, width, "picoscience", run, overrides=QUICK)
            report = qvlm.bench(
                [model, *runs],
                HERE / "results" / name,
                new_tokens=args.new_tokens,
                repeat=args.repeat,
                forms=args.forms,
                overwrite=True,
            )
        print(to_markdown(speed_table(report)), flush=True)


if __name__ == "__main__":
    main()
