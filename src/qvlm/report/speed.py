"""Speed and memory of models side by side: a table and bars."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.table import Table

from qvlm.report.layout import add_row, make_table, set_caption, size_text
from qvlm.report.plots import STYLE

if TYPE_CHECKING:  # values are only read
    from qvlm.artefacts.speed import Speed, SpeedReport

BARS: dict[str, tuple[str, Callable[[Speed], float]]] = {
    "memory": ("weights in memory, MB", lambda row: row.weight_bytes / 1e6),
    "first-token": ("seconds to the first token", lambda row: row.time_to_first_token),
    "decode": ("tokens per second after the first", lambda row: row.decode_rate),
}
"""Name of the file -> label and value of its bars."""


def speed_table(report: SpeedReport) -> Table:
    """One row per model and form; ratios are to the first row."""
    header = ["model", "form", "weights", "peak RSS", "load s", "first token s", "prefill tok/s",
              "decode tok/s"]  # fmt: skip
    table = make_table("speed and memory", header, labels=2)
    base = report.rows[0]
    for row in report.rows:
        add_row(
            table,
            [
                f"{Path(row.model).name} {row.scheme}",
                row.form,
                _with_ratio(size_text(row.weight_bytes), base.weight_bytes / row.weight_bytes),
                size_text(row.peak_rss_bytes),
                f"{row.load_seconds:.1f}",
                _with_ratio(
                    f"{row.time_to_first_token:.3f}",
                    base.time_to_first_token / row.time_to_first_token,
                ),
                f"{row.prefill_rate:.0f}",
                _with_ratio(f"{row.decode_rate:.1f}", row.decode_rate / base.decode_rate),
            ],
        )
    machine = report.machine
    set_caption(
        table,
        [
            f"one image question of {base.prompt_tokens} tokens ({base.image_tokens} of the image) "
            f"and {base.new_tokens} new ones, batch 1, greedy; medians of {report.repeat}",
            "in brackets: times smaller or faster than the first row",
            f"{machine['processor']}, {machine['threads']} threads",
        ],
    )
    return table


def draw_speed(directory: Path, report: SpeedReport) -> None:
    """Writes a bar chart per figure, `speed-NAME.png` and `.svg`."""
    labels = [f"{Path(row.model).name}\n{row.scheme} {row.form}" for row in report.rows]
    with rc_context(STYLE):
        for name, (label, value) in BARS.items():
            figure = Figure(figsize=(6.4, 0.6 + 0.5 * len(labels)))
            FigureCanvasAgg(figure)
            axes = figure.add_subplot()
            bars = axes.barh(labels, [value(row) for row in report.rows])
            axes.bar_label(bars, fmt="%.3g", padding=2)
            axes.invert_yaxis()
            axes.set_xlabel(label)
            figure.savefig(directory / f"speed-{name}.png", dpi=110, metadata={"Software": None})
            figure.savefig(directory / f"speed-{name}.svg", metadata={"Date": None})


def _with_ratio(text: str, ratio: float) -> str:
    return text if ratio == 1 else f"{text} ({ratio:.2f}x)"
