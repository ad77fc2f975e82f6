"""Speed and memory of whole models: full precision against W4A4 and W8A8, simulated and integer.

    python benchmarks/end_to_end/run.py [llava-0.5b llava-1.3b] [--new-tokens 32] \
        [--repeat 3] [--forms float32 integer]

Writes results/NAME/ (speed.json, speed.md, plots). Weights are random and rounded to nearest on 4
calibration samples: what is measured is time and memory, and these do not depend on them.
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
    args = parser.parse_intermixed_args()
    for name in args.shapes:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            model = write_model(name, root / name)
            runs = []
            for width in args.widths:
                runs.append(root / f"{name}-{width}")
                qvlm.quantize(model, width, "picoscience", runs[-1], overrides=QUICK)
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
