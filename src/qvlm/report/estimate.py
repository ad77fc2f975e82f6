"""What a run is expected to take, as a table."""

from __future__ import annotations

from rich.table import Table

from qvlm.artefacts.estimate import Estimate
from qvlm.report.layout import add_row, make_table, size_text


def estimate_table(estimate: Estimate) -> Table:
    """Memory, disk and seconds of a run that has not begun."""
    where = "layers on disk" if estimate.streamed else "whole model in memory"
    table = make_table(f"Expected on this machine, {where}", ("", "about"))
    add_row(table, ("peak memory", size_text(estimate.memory_bytes)))
    add_row(table, ("disk", size_text(estimate.disk_bytes)))
    for stage, seconds in estimate.seconds.items():
        add_row(table, (stage, f"{seconds:.0f} s"))
    table.caption = f"seconds: measured for {estimate.measured_seconds:.0f} s, if nothing else runs"
    return table
