"""How tables look, in a terminal (rich) and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

NONE = "-"
"""A cell without a value."""


def make_table(title: str, header: Sequence[str], labels: int = 1) -> Table:
    """An empty table that stays readable on 80 columns.

    Args:
        title: above the table.
        header: names of the columns.
        labels: how many columns, from the left, hold names that may fold; figures never do.
    """
    # Text here and below, so that brackets in a name are not read as rich's markup.
    table = Table(
        title=Text(title), box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True,
        caption_justify="left",
    )  # fmt: skip
    for index, name in enumerate(header):
        table.add_column(
            Text(name),
            justify="right" if index else "left",
            overflow="fold",
            no_wrap=index >= labels,
            min_width=8 if index < labels else None,
        )
    return table


def add_row(table: Table, cells: Sequence[str]) -> None:
    """Appends one row of plain text."""
    table.add_row(*(Text(cell) for cell in cells))


def set_caption(table: Table, lines: Sequence[str]) -> None:
    """Puts lines of plain text below a table."""
    table.caption = Text("\n".join(lines)) if lines else None


def size_text(count: int) -> str:
    """Bytes in decimal units, as disks are labelled."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"


def to_markdown(tables: Table | Group) -> str:
    """The same tables as GitHub Markdown, each with its title above and its caption below."""
    if isinstance(tables, Table):
        return _markdown(tables)
    return "\n".join(_markdown(item) for item in tables.renderables if isinstance(item, Table))


def _markdown(table: Table) -> str:
    header = [_plain(column.header) for column in table.columns]
    body = list(
        zip(*([_plain(cell) for cell in column.cells] for column in table.columns), strict=True)
    )
    rules = ["---", *["---:"] * (len(header) - 1)]
    lines = ["| " + " | ".join(row) + " |" for row in (header, rules, *body)]
    title = [f"**{_plain(table.title)}**", ""] if table.title else []
    caption = ["", *_plain(table.caption, "  \n").split("\n")] if table.caption else []
    return "\n".join([*title, *lines, *caption]) + "\n"


def _plain(cell: object, newline: str = " ") -> str:
    text = cell.plain if isinstance(cell, Text) else str(cell)
    return text.replace("|", "\\|").replace("\n", newline)
