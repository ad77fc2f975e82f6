"""Tables of scores and of methods side by side, for a terminal (rich) and for Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # values are only read, so that importing this needs no other package
    from qvlm.artefacts.scores import ColumnScore, ComparisonRow, Scores

PAPER_COLUMNS = ("NAT", "SOC", "LAN", "TXT", "IMG", "NO")
OVERALL = "Avg"
NONE = "-"


def scores_table(scores: Mapping[str, Scores]) -> Table:
    """One row per label with the accuracy (%) of every column, and how many were unparsed.

    The last row counts the samples of each column where all labels share them.
    """
    values = list(scores.values())
    names = list(dict.fromkeys(name for one in values for name in one.columns))
    table = _table(_title(values), ["", *names, "unparsed"])
    for label, one in scores.items():
        cells = [_accuracy(one.columns.get(name), name == OVERALL) for name in names]
        _add(table, [_label(label, one), *cells, str(one.unparsed)])
    if len({one.settings.data_sha for one in values}) == 1:
        counts = [str(values[0].columns[name].count) for name in names]
        _add(table, ["samples", *counts, str(values[0].total)])
    table.caption = _caption(values)
    return table


def comparison_table(rows: Sequence[ComparisonRow]) -> Table:
    """One row per method: accuracies, size of the quantized weights and cost of the search."""
    compared = any(row.difference is not None for row in rows)
    header = ["method", "bits", *PAPER_COLUMNS, OVERALL]
    header += ["difference"] if compared else []
    header += ["weights", "vs fp32", "search s", "forwards", "generation s"]
    values = [row.scores for row in rows]
    table = _table(_title(values), header)
    for row in rows:
        columns = row.scores.columns
        cells = [_label(row.method, row.scores), row.scheme]
        cells += [_accuracy(columns.get(n), n == OVERALL) for n in (*PAPER_COLUMNS, OVERALL)]
        cells += [_difference(row)] if compared else []
        cells += [
            _bytes(row.quantized_bytes),
            f"{row.compression:.2f}x",
            f"{row.search_seconds:.1f}",
            f"{row.forward_equivalents:.1f}",
            f"{row.generation_seconds:.1f}",
        ]
        _add(table, cells)
    caption = [_caption(values), "forwards: full-precision forwards per calibration sample"]
    if compared:
        caption.append("difference: percentage points, 95 % paired bootstrap interval")
    caption += [f"{row.method}: {row.notes}" for row in rows if row.notes]
    table.caption = "\n".join(caption)
    return table


def to_markdown(table: Table) -> str:
    """The same table as GitHub Markdown, with title above and caption below."""
    header = [_plain(column.header) for column in table.columns]
    body = list(
        zip(*([_plain(cell) for cell in column.cells] for column in table.columns), strict=True)
    )
    rules = ["---", *["---:"] * (len(header) - 1)]
    lines = ["| " + " | ".join(row) + " |" for row in (header, rules, *body)]
    title = [f"**{_plain(table.title)}**", ""] if table.title else []
    caption = ["", *_plain(table.caption, "  \n").split("\n")] if table.caption else []
    return "\n".join([*title, *lines, *caption]) + "\n"


def _table(title: str, header: Sequence[str]) -> Table:
    table = Table(title=title, caption_justify="left")
    for index, name in enumerate(header):
        table.add_column(Text(name), justify="right" if index else "left", no_wrap=index > 0)
    return table


def _add(table: Table, cells: Sequence[str]) -> None:
    # Text, so that brackets in a label are not read as rich's markup.
    table.add_row(*(Text(cell) for cell in cells))


def _title(scores: Sequence[Scores]) -> str:
    names = dict.fromkeys(f"{one.task} {one.split}, {one.total} samples" for one in scores)
    return "; ".join(names)


def _caption(scores: Sequence[Scores]) -> str:
    lines = ["accuracy in %; ± is half the 95 % Wilson interval"]
    lines += dict.fromkeys(one.policy for one in scores)
    if len({one.settings.data_sha for one in scores}) > 1:
        lines.append("NOT all rows are on the same samples")
    return "\n".join(lines)


def _label(name: str, scores: Scores) -> str:
    return f"{name} (blank images)" if scores.blank_images else name


def _accuracy(score: ColumnScore | None, interval: bool) -> str:
    if score is None or score.accuracy is None or score.low is None or score.high is None:
        return NONE
    half = f" ± {(score.high - score.low) / 2:.2f}" if interval else ""
    return f"{score.accuracy:.2f}{half}"


def _difference(row: ComparisonRow) -> str:
    paired = row.difference
    if paired is None:
        return NONE
    return f"{paired.difference:+.2f} [{paired.low:+.2f}, {paired.high:+.2f}]"


def _bytes(count: int) -> str:
    """Decimal units, as disks are labelled."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"


def _plain(cell: object, newline: str = " ") -> str:
    text = cell.plain if isinstance(cell, Text) else str(cell)
    return text.replace("|", "\\|").replace("\n", newline)
