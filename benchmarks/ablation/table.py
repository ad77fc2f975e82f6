"""Turns results/*.json into README.md, and a part of it into docs/results.md.

Means over calibration seeds with a 95 % interval.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from variants import VARIANTS

HERE = Path(__file__).parent
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Two-sided 95 % quantile of Student's t for that many runs (n - 1 degrees of freedom)."""
RESULTS = HERE.parents[1] / "docs/results.md"
BEGIN, END = "<!-- ablation: begin -->", "<!-- ablation: end -->"
OVERVIEW = (
    ("smol-llava", "w4a4"),
    ("smol-llava", "w6a6"),
    ("pico-llava", "w4a4"),
    ("pico-llava", "w6a6"),
)
SHOWN = {
    "RTN per token": "activations per token, nearest",
    "min-max": "static min-max ranges, nearest",
    "lp": "static ranges of least lp error, nearest",
    "baseline (layer-wise)": "baseline: layer-wise search",
    "+ CDM": "+ CDM: joint search in entropy-guided blocks",
    "+ VEO": "+ VEO: vision-encoder optimization",
    "+ CDM + VEO": "+ CDM + VEO",
    "paper's letter": "the paper's letter",
    "+ CDM, balanced": "+ CDM, tokens balanced by modality",
    "+ CDM, answer": "+ CDM, answer tokens",
    "+ CDM, gradient": "+ CDM, tokens by gradient",
    "+ CDM + guard": "+ CDM + guard",
    "+ CDM + gptq": "+ CDM + second-order rounding",
    "min-max + gptq": "`-static` preset: min-max, second-order rounding",
    "lp + gptq": "lp ranges, second-order rounding",
    "per token and group": "ranges per token and group, nearest",
    "per token and group + gptq": "... second-order rounding",
    "+ rotation": "... rotated, nearest",
    "default": "**preset**: rotated, second-order rounding",
    "default, balanced": "... Hessian balanced by modality",
    "default, answer": "... Hessian of answer tokens",
    "default, gradient": "... Hessian by gradient",
}
"""Variant -> what docs/results.md calls it, in the order there."""
COLUMNS = "| variant | seeds | accuracy, % | KL, nats | search, s | forwards | blocks | ran on |"


def main() -> None:
    lines = [
        "# Ablation\n",
        "Mean over calibration seeds, +- the half width of its 95 % interval (Student's t over the "
        "seeds: the noise of the calibration draw, not that of the questions). Accuracy: every "
        "token of the answer is the most likely one, which is an exact match of greedy decoding. "
        "KL to full precision per answer token. Search: seconds and forward equivalents of the "
        "search stage; other work shared the machine (and up to 15 processes the GPU), so compare "
        "forwards. Blocks: of the language model. A GPU adds up floats in another order than a "
        "CPU, and one value between two levels is enough for another choice: cells of one variant "
        "that ran on both spread a little more. Written by `table.py` from `results/`; "
        "`run.py` measures, `variants.py` says what a variant is.\n",
    ]
    for path in sorted((HERE / "results").glob("*.json")):
        lines += _section(path.stem, json.loads(path.read_text()))
    (HERE / "README.md").write_text("\n".join(lines) + "\n")
    page = RESULTS.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    RESULTS.write_text(f"{before}{BEGIN}\n\n{_overview()}\n\n{END}{after}")


def _overview() -> str:
    """Accuracy and KL of the variants in both models at both widths, side by side."""
    records = [
        json.loads((HERE / f"results/{name}-{width}-val.json").read_text())
        for name, width in OVERVIEW
    ]
    full = [f"{record['full_precision']['accuracy']:.1f}" for record in records]
    lines = [
        "| | " + " | ".join(f"{name} {width.upper()} | KL" for name, width in OVERVIEW) + " |",
        "|---" * (2 * len(OVERVIEW) + 1) + "|",
        "| full precision | " + " | ".join(f"{value} | 0" for value in full) + " |",
    ]
    for variant, text in SHOWN.items():
        cells = []
        for record in records:
            runs = list(record["runs"].get(variant, {}).values())
            cells += [_mean(runs, "accuracy", 1), _mean(runs, "kl", 4)] if runs else ["", ""]
        lines.append(f"| {text} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _section(name: str, record: dict[str, Any]) -> list[str]:
    cells = [run for runs in record["runs"].values() for run in runs.values()]
    places = sorted({_place(cell) for cell in cells})
    return [
        f"## {name}\n",
        f"{record['model']}, {record['width']}, {record['questions']} questions of "
        f"{record['source']} ({record['split']}); full precision "
        f"{record['full_precision']['accuracy']:.2f} %. {' and '.join(places)}, "
        f"{record['threads']} thread(s) per process.\n",
        COLUMNS,
        "|---" * (COLUMNS.count("|") - 1) + "|",
        *(_row(name, list(record["runs"][name].values())) for name in _ordered(record["runs"])),
        "",
    ]


def _ordered(names: Iterable[str]) -> list[str]:
    order = list(VARIANTS)
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def _place(cell: dict[str, Any]) -> str:
    """The GPU that a cell ran on, or its processor, with its libraries."""
    place = cell["processor"] if cell["device"] == "cpu" else cell["device"]
    return f"{place} (PyTorch {cell['torch']}, Transformers {cell['transformers']})"


def _row(variant: str, runs: list[dict[str, Any]]) -> str:
    kinds = sorted({"GPU" if cell["device"] != "cpu" else "CPU" for cell in runs})

    blocks = "/".join(str(run["blocks"].get("language", 0)) for run in runs)
    return (
        f"| {variant} | {len(runs)} | {_mean(runs, 'accuracy', 2)} | {_mean(runs, 'kl', 4)} | "
        f"{_mean(runs, 'search_seconds', 1)} | {_mean(runs, 'search_forwards', 1)} | {blocks} | "
        f"{', '.join(kinds)} |"
    )


def _mean(runs: list[dict[str, Any]], key: str, digits: int) -> str:
    values = [float(run[key]) for run in runs]
    mean = f"{statistics.fmean(values):.{digits}f}"
    if len(values) not in STUDENT:
        return mean
    half = STUDENT[len(values)] * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean} +- {half:.{digits}f}"


if __name__ == "__main__":
    main()
