"""What a checkpoint becomes in every server, and what was checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from qvlm.report.layout import add_row, make_table, set_caption

if TYPE_CHECKING:  # values are only read
    from qvlm.artefacts.verification import Verification


def execution_table(result: Verification) -> Table:
    """One row per tower and scheme: what was asked, and what each server executes."""
    header = ["tower", "asked", "Transformers", "vLLM", "qvlm runtime", "linears", "bits"]
    table = make_table(f"{result.format} checkpoint", header, labels=5)
    for column in table.columns[:5]:
        column.justify = "left"
    for row in result.rows:
        vllm = f"{row.vllm} (!)" if row.vllm_differs else row.vllm
        add_row(
            table,
            [row.tower, row.asked, row.transformers, vllm, row.own, str(row.layers),
             f"{row.bits_per_weight:.2f}"],
        )  # fmt: skip
    lines = ["bits: stored per weight, scales and zero points included"]
    if any(row.vllm_differs for row in result.rows):
        lines.append("(!) not what was asked, and vLLM does not say so")
    set_caption(table, lines)
    return table


def check_lines(result: Verification) -> list[str]:
    """One line per check."""
    return [f"{check.outcome}: {check.name}: {check.detail}" for check in result.checks]
