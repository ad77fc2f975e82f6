"""Tables of scores, and of methods side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table

from qvlm.report.layout import NONE, add_row, make_table, set_caption, size_text

if TYPE_CHECKING:  # values are only read, so that importing this needs no other package
    from qvlm.artefacts.scores import (
        ColumnScore,
        ComparisonRow,
        FileScores,
        Measure,
        PairedDifference,
        Scores,
    )

PAPER_COLUMNS = ("NAT", "SOC", "LAN", "TXT", "IMG", "NO")
OVERALL = "Avg"
PAIRED = "difference: percentage points, 95 % paired bootstrap interval; p: McNemar's exact test"


def scores_table(scores: Mapping[str, Scores | FileScores]) -> Table:
    """One row per column of the task and one column per label: accuracy (%) with its interval.

    The last column counts the samples, where all labels share them; the last row the answers
    that could not be read.
    """
    values = list(scores.values())
    names = list(dict.fromkeys(name for one in values for name in one.columns))
    shared = len({one.data_sha for one in values}) == 1
    header = ["", *(_label(label, one) for label, one in scores.items())]
    table = make_table(_title(values), [*header, *(["samples"] if shared else [])], len(header))
    for name in names:
        cells = [name, *(_accuracy(one.columns.get(name), True) for one in values)]
        add_row(table, [*cells, *([str(values[0].columns[name].count)] if shared else [])])
    for name in dict.fromkeys(name for one in values for name in one.measures):
        cells = [name, *(_measure(one.measures.get(name)) for one in values)]
        add_row(table, [*cells, *([str(values[0].total)] if shared else [])])
    counts = {"unparsed": [one.unparsed for one in values]}
    # Only files of answers can lack some.
    counts["missing"] = [getattr(one, "missing", 0) for one in values]
    for name, numbers in counts.items():
        if name == "unparsed" or any(numbers):
            cells = [name, *map(str, numbers)]
            add_row(table, [*cells, *([str(values[0].total)] if shared else [])])
    set_caption(table, _caption(values))
    return table


def comparison_table(rows: Sequence[ComparisonRow]) -> Group:
    """One row per method, in two tables: what it scores, and what it costs."""
    return Group(_accuracy_table(rows), _cost_table(rows))


def _accuracy_table(rows: Sequence[ComparisonRow]) -> Table:
    values = [row.scores for row in rows]
    known = list(dict.fromkeys(name for one in values for name in one.columns))
    names = [name for name in PAPER_COLUMNS if name in known] or known[:-1]
    table = make_table(_title(values), ["method", "bits", *names, OVERALL])
    for row in rows:
        columns = row.scores.columns
        cells = [_accuracy(columns.get(n), n == OVERALL) for n in (*names, OVERALL)]
        add_row(table, [_label(row.method, row.scores), row.scheme, *cells])
    notes = [f"{row.method}: {row.notes}" for row in rows if row.notes]
    set_caption(table, [*_caption(values), *notes])
    return table


def _cost_table(rows: Sequence[ComparisonRow]) -> Table:
    compared = any(row.difference is not None for row in rows)
    header = ["method", *(["difference", "p"] if compared else [])]
    header += ["weights", "vs fp32", "search s", "forwards", "answers s"]
    table = make_table("cost", header)
    for row in rows:
        paired = [_difference(row.difference), _p_value(row.difference)] if compared else []
        cells = [_label(row.method, row.scores), *paired]
        cells += [
            size_text(row.quantized_bytes) if row.quantized_bytes else NONE,
            NONE if row.compression is None else f"{row.compression:.2f}x",
            f"{row.search_seconds:.1f}",
            f"{row.forward_equivalents:.1f}",
            f"{row.generation_seconds:.1f}",
        ]
        add_row(table, cells)
    caption = ["forwards: full-precision forwards per calibration sample"]
    if compared:
        caption.append(PAIRED)
    set_caption(table, caption)
    return table


def differences_table(differences: Mapping[str, PairedDifference]) -> Table:
    """One row per model: how it differs from the first on the same samples."""
    header = ["", "difference", "p", "only first", "only this"]
    table = make_table("differences to the first", header)
    for name, paired in differences.items():
        counts = [str(paired.only_first), str(paired.only_second)]
        add_row(table, [name, _difference(paired), _p_value(paired), *counts])
    set_caption(table, [PAIRED])
    return table


def _title(scores: Sequence[Scores | FileScores]) -> str:
    names = dict.fromkeys(f"{one.task} {one.split}, {one.total} samples" for one in scores)
    return "; ".join(names)


def _caption(scores: Sequence[Scores | FileScores]) -> list[str]:
    lines = ["accuracy in %; ± is half the 95 % Wilson interval"]
    lines += dict.fromkeys(one.policy for one in scores)
    if len({one.data_sha for one in scores}) > 1:
        lines.append("NOT all rows are on the same samples")
    return lines


def _label(name: str, scores: Scores | FileScores) -> str:
    return f"{name} (blank images)" if scores.blank_images else name


def _accuracy(score: ColumnScore | None, interval: bool) -> str:
    if score is None or score.accuracy is None or score.low is None or score.high is None:
        return NONE
    half = f" ± {(score.high - score.low) / 2:.2f}" if interval else ""
    return f"{score.accuracy:.2f}{half}"


def _measure(measure: Measure | None) -> str:
    if measure is None:
        return NONE
    return f"{measure.value:.2f} ± {(measure.high - measure.low) / 2:.2f}"


def _difference(paired: PairedDifference | None) -> str:
    if paired is None:
        return NONE
    return f"{paired.difference:+.1f} [{paired.low:+.1f}, {paired.high:+.1f}]"


def _p_value(paired: PairedDifference | None) -> str:
    if paired is None:
        return NONE
    return "<0.001" if paired.p_value < 0.001 else f"{paired.p_value:.3f}"
