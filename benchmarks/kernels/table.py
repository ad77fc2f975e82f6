"""results.json as a table a person can read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

READING = "reading alone, 4 bits"
INTRODUCTION = """# Kernels

`python benchmarks/kernels/run.py` wrote this page; its docstring says how it measures. Ratios are
to torch fp32 (higher is faster), GOP/s counts a multiplication and an addition as two, GB/s counts
the bytes of weights, scales and zero points. "Reading alone" is PyTorch's sum of as many bytes
as 4-bit weights have, in turn with the others; the bound was measured before them, and memory is
not equally fast all the time on a machine that others use, too.
"""


def write_table(result: dict[str, Any], path: Path) -> None:
    """Writes the page of one result."""
    about = result["machine"]
    bounds = ", ".join(f"{name} {value:.0f}" for name, value in result["bounds"].items())
    lines = [
        INTRODUCTION,
        f"{about['processor']}, {about['threads']} threads, kernel `{result['kernel']}`, "
        f"load before the run {result['load_before'][0]}. Bounds measured in the same run: "
        f"{bounds}.\n",
    ]
    for shape, found in result["shapes"].items():
        lines.append(f"## {shape} (tokens x in x out)\n")
        lines.append("| | ms | x fp32 | GOP/s | GB/s |\n|---|---|---|---|---|")
        for name, row in found["contenders"].items():
            products = f"{row['over_fp32']:.2f} | {row['gops']:.0f}"
            lines.append(
                f"| {name} | {row['milliseconds']:.2f} | "
                f"{'- | -' if name == READING else products} | {row['weight_gbytes_per_s']:.1f} |"
            )
        if found["missing"]:
            lines.append(f"\nNot installed: {', '.join(found['missing'])}.")
        lines.append("")
    path.write_text("\n".join(lines), encoding="utf-8")
