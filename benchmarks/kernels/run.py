"""How fast quantized linears are, beside other libraries and what the machine allows.

    python benchmarks/kernels/run.py [--threads 2] [--seconds 8] [--shapes 1x4096x11008 ...]

Contenders take turns, one call each, so that whatever else the machine does hits them alike; the
figure is the median over rounds of (time of torch fp32 / time of the contender). With few tokens,
every contender rotates among weight sets of 512 MB or more together: else the cache is measured.
Other libraries are used where they are installed: onnxruntime and onnx, openvino. Writes
results.json and README.md here, or into --output; with --keep, shapes that are there already and
not measured now stay, so that a long measurement can be made in parts. Only figures of one kernel
and processor are kept together.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from bounds import bounds
from contenders import CONTENDERS, Layer
from table import write_table

from qvlm import machine
from qvlm.runtime.kernels.choose import selected

HERE = Path(__file__).parent
SHAPES = ("1x4096x11008", "16x4096x11008", "512x4096x11008", "512x576x1536")
BEYOND_CACHE = 512e6
FEW_TOKENS = 16
BASELINE = "torch fp32"


@torch.no_grad()
def measure(shape: str, names: list[str], seconds: float) -> dict[str, Any]:
    tokens, width, out = map(int, shape.split("x"))
    layers: dict[str, itertools.cycle[Layer]] = {}
    nbytes: dict[str, int] = {}
    missing: dict[str, str] = {}
    x = torch.randn(tokens, width)
    weight = torch.randn(out, width) / math.sqrt(width)
    for name in names:
        try:
            first = CONTENDERS[name](x, weight)
        except ImportError as error:
            missing[name] = str(error)
            continue
        count = math.ceil(BEYOND_CACHE / first.nbytes) if tokens <= FEW_TOKENS else 1
        layers[name] = itertools.cycle(
            [
                first,
                *(
                    first.copy() if first.copy else CONTENDERS[name](x, weight)
                    for _ in range(count - 1)
                ),
            ]
        )
        nbytes[name] = first.nbytes
    for turn in layers.values():
        next(turn).run()
    times: dict[str, list[float]] = {name: [] for name in layers}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[BASELINE]) < 5:
        for name, turn in layers.items():
            layer = next(turn)
            start = time.perf_counter()
            layer.run()
            times[name].append(time.perf_counter() - start)
    rows = {}
    for name, spent in times.items():
        ratios = [base / own for base, own in zip(times[BASELINE], spent, strict=True)]
        median = statistics.median(spent)
        rows[name] = {
            "milliseconds": 1e3 * median,
            "over_fp32": statistics.median(ratios),
            "gops": 2e-9 * tokens * width * out / median,
            "weight_gbytes_per_s": nbytes[name] / median / 1e9,
            "rounds": len(spent),
        }
    return {"contenders": rows, "missing": missing}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=8, help="of measuring, for each shape")
    parser.add_argument("--shapes", nargs="+", default=SHAPES, help="tokens x in x out")
    parser.add_argument("--only", nargs="+", default=[], choices=list(CONTENDERS))
    parser.add_argument("--keep", action="store_true", help="shapes of earlier runs in --output")
    parser.add_argument("--output", type=Path, default=HERE)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(options.threads)
    names = [n for n in CONTENDERS if n == BASELINE or not options.only or n in options.only]
    result: dict[str, Any] = {
        "kernel": selected(),
        "machine": machine.description(),
        "features": machine.processor_features(),
        "versions": machine.versions(),
        "load_before": Path("/proc/loadavg").read_text().split()[:3],
        "bounds": bounds(),
        "shapes": {},
    }
    if options.keep and (options.output / "results.json").is_file():
        earlier = json.loads((options.output / "results.json").read_text(encoding="utf-8"))
        if (earlier["kernel"], earlier["machine"]) != (result["kernel"], result["machine"]):
            parser.error(
                f"{options.output} holds figures of another kernel or machine: drop --keep"
            )
        result["shapes"] = earlier["shapes"]
    for shape in options.shapes:
        result["shapes"][shape] = measure(shape, names, options.seconds)
        print(shape, "done", flush=True)
    text = json.dumps(result, indent=1) + "\n"
    (options.output / "results.json").write_text(text, encoding="utf-8")
    write_table(result, options.output / "README.md")


if __name__ == "__main__":
    main()
