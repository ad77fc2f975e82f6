"""Turns results/*.json into the section on rivals of docs/results.md.

python benchmarks/rivals/table.py
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from methods import FULL_PRECISION, METHODS, WIDTHS
from paired import difference

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "results.md"
BEGIN, END = "<!-- rivals: begin -->", "<!-- rivals: end -->"
STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Two-sided 95 % quantile of Student's t for that many runs (n - 1 degrees of freedom)."""
Runs = list[dict[str, Any]]
Lines = Iterator[str]


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        print(f"error: '{PAGE}' lacks the lines {BEGIN} and {END}: put them in", file=sys.stderr)
        sys.exit(2)
    paths = sorted((HERE / "results").glob("*.json"))
    records = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    PAGE.write_text(f"{head}{BEGIN}\n\n{section(records)}\n{END}{tail}", encoding="utf-8")


def section(records: list[dict[str, Any]]) -> str:
    """Everything between the markers."""
    lines = []
    for record in records:
        lines += _setting(record)
        lines += _accuracies(record)
        lines += _costs(record)
        if record["text"]:
            lines += _perplexities(record)
        lines += _remarks(record)
    return "\n".join(lines)


def _setting(record: dict[str, Any]) -> Lines:
    full = record[FULL_PRECISION]
    machine, versions = full["machine"], full["versions"]
    libraries = ", ".join(f"{name} {version}" for name, version in versions.items())
    yield f"### {_title(record)}\n"
    yield (
        f"{record['samples']} calibration samples; {record['questions']} questions of "
        f"{record['source']} ({record['split']}), greedy. "
        f"{machine['processor']}, {machine['threads']} thread(s) per process; {libraries}.\n"
    )


def _title(record: dict[str, Any]) -> str:
    """A model may have been asked few questions of all methods, and many of some."""
    return f"{record['model']}, {record['questions']:,} questions"


def _accuracies(record: dict[str, Any]) -> Lines:
    columns = list(record[FULL_PRECISION]["columns"])
    yield f"**Accuracy, %, {_title(record)}**\n"
    yield from _head("bits", "method", "seeds", *columns, "less the preset, paired", "KL, nats")
    full = record[FULL_PRECISION]["columns"]
    yield _row("32", FULL_PRECISION, "", *(_number(full[name], 2) for name in columns), "", "0")
    for width, method, runs in _cells(record):
        means = [_mean([run["columns"][name] for run in runs], 2) for name in columns[:-1]]
        average = _interval([run["columns"][columns[-1]] for run in runs], 2)
        divergence = _interval([run["kl"] for run in runs], 4)
        paired = difference(record, method, width)
        yield _row(width.upper(), method, _seeds(method, runs), *means, average, paired, divergence)
    yield ""


def _costs(record: dict[str, Any]) -> Lines:
    full = record[FULL_PRECISION]
    yield f"**Cost, {_title(record)}**\n"
    yield from _head(
        "bits",
        "method",
        "quantizing, s",
        "CPU, s",
        "peak RSS, MiB",
        "checkpoint, MB",
        "answering, s",
        "Avg",
    )
    yield _row(
        "32",
        FULL_PRECISION,
        "",
        "",
        "",
        f"{full['checkpoint_bytes'] / 1e6:.1f}",
        _number(full["generation_seconds"], 0),
        _number(full["columns"]["Avg"], 2),
    )
    for width, method, runs in _cells(record):
        size = _mean([run["checkpoint_bytes"] / 1e6 for run in runs], 1)
        yield _row(
            width.upper(),
            method,
            _interval([run["quantize_seconds"] for run in runs], 0),
            _mean([run["quantize_cpu_seconds"] for run in runs], 0),
            _mean([run["peak_rss_bytes"] / 2**20 for run in runs], 0),
            size if runs[0]["checkpoint"] == "saved" else f"{size} (computed)",
            _mean([run["generation_seconds"] for run in runs], 0),
            _mean([run["columns"]["Avg"] for run in runs], 2),
        )
    yield ""


def _perplexities(record: dict[str, Any]) -> Lines:
    text = record[FULL_PRECISION]["text"]
    yield f"**Perplexity on plain text, {_title(record)}** ({text['text']})\n"
    present = [w for w in WIDTHS if any(w in by_width for by_width in record["cells"].values())]
    yield from _head("method", *(width.upper() for width in present))
    yield _row(FULL_PRECISION, *[_number(text["perplexity"], 2)] * len(present))
    for method in _methods(record):
        found = []
        for width in present:
            runs = _measured(record, method, width)
            values = [run["text"]["perplexity"] for run in runs]
            found.append(_interval(values, 2) if values else "-")
        yield _row(method, *found)
    yield ""


def _remarks(record: dict[str, Any]) -> Lines:
    """Where each method worked, what is peculiar to it, and why a figure is missing."""
    yield f"**What was quantized, {_title(record)}**\n"
    places: dict[str, list[str]] = {}
    remarks = []
    for method in _methods(record):
        parts: dict[str, None] = {}
        for width in WIDTHS:
            for run in record["cells"][method].get(width, {}).values():
                if "where" in run and method not in places.setdefault(run["where"], []):
                    places[run["where"]].append(method)
                parts |= dict.fromkeys(_remark(width.upper(), run))
        if parts:
            remarks.append(f"- *{method}* ({METHODS[method].library}): {'; '.join(parts)}.")
    for where, methods in places.items():
        yield f"- {', '.join(methods)}: {where}."
    yield from remarks
    yield ""


def _remark(width: str, run: dict[str, Any]) -> Lines:
    if run.get("notes"):
        yield run["notes"]
    if "not_applicable" in run:
        yield f"no {width}: {run['not_applicable']}"
    if "error" in run:
        yield f"{width} failed: {run['error']}"


def _cells(record: dict[str, Any]) -> Iterator[tuple[str, str, Runs]]:
    for width in WIDTHS:
        for method in _methods(record):
            runs = _measured(record, method, width)
            if runs:
                yield width, method, runs


def _measured(record: dict[str, Any], method: str, width: str) -> Runs:
    runs = record["cells"].get(method, {}).get(width, {})
    return [run for run in runs.values() if "columns" in run]


def _methods(record: dict[str, Any]) -> list[str]:
    return [method for method in METHODS if method in record["cells"]]


def _seeds(method: str, runs: Runs) -> str:
    return str(len(runs)) if METHODS[method].draws else "any"


def _interval(values: list[float], digits: int) -> str:
    """The mean, and half the width of its 95 % interval over the calibration seeds."""
    mean = _mean(values, digits)
    if len(values) not in STUDENT:
        return mean
    half = STUDENT[len(values)] * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean} ± {half:.{digits}f}"


def _mean(values: list[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return _number(statistics.fmean(known), digits) if known else "-"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _head(*names: str) -> Lines:
    yield _row(*names)
    yield "|---" * len(names) + "|"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
