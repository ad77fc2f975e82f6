"""Table of a few-shot evaluation with several seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from qvlm.report.layout import NONE, add_row, make_table, set_caption

if TYPE_CHECKING:
    from qvlm.artefacts.scores import MeanScore, ShotScores


def seeds_table(scores: ShotScores) -> Table:
    """One row per column of the task: accuracy (%) of every seed, their mean and its interval."""
    first = scores.runs[0]
    header = ["", *(f"seed {one.settings.shot_seed}" for one in scores.runs)]
    header += ["mean", "95 %", "deviation", "samples"]
    title = f"{first.task} {first.split}, {first.total} samples, {first.settings.shots} shown first"
    table = make_table(title, header)
    for name, column in scores.columns.items():
        add_row(table, [name, *_cells(column, len(scores.runs)), str(column.count)])
    unparsed = [str(one.unparsed) for one in scores.runs]
    add_row(table, ["unparsed", *unparsed, NONE, NONE, NONE, str(first.total)])
    caption = [
        "accuracy in %; interval of the mean: bootstrap over questions, each with all its seeds",
        "deviation: over the seeds, percentage points",
        first.policy,
    ]
    set_caption(table, caption)
    return table


def _cells(column: MeanScore, seeds: int) -> list[str]:
    if column.mean is None or column.low is None or column.high is None:
        return [NONE] * (seeds + 3)
    return [
        *(f"{accuracy:.2f}" for accuracy in column.accuracies),
        f"{column.mean:.2f}",
        f"{column.low:.2f} to {column.high:.2f}",
        f"{column.deviation:.2f}",
    ]
