"""An analysis as CSV files, as tables for a terminal, and as a page with all plots."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from qvlm.report.layout import NONE, add_row, make_table, set_caption, to_markdown

if TYPE_CHECKING:  # values are only read, so that importing this needs no other package
    from qvlm.artefacts.analysis import Analysis, Quality

Row = Sequence[object]

MEASURES = {"ded": "whole model", "pair_ded": "pair alone"}
PROXIES = {"entropy": "entropy", "quantization_error": "quantization error"}


def write_tables(directory: Path, analysis: Analysis) -> None:
    """Writes the figures behind every plot as CSV files with a header line."""
    for name, (header, rows) in _tables(analysis).items():
        with (directory / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)


def write_page(directory: Path, analysis: Analysis) -> None:
    """Draws all plots and writes `index.md`, which shows each with a sentence."""
    from qvlm.report.plots import draw_all

    sections = []
    for plot in draw_all(directory, analysis):
        sections.append(f"## {plot.title}\n\n{plot.sentence}\n\n![{plot.title}]({plot.name}.png)\n")
    tables = [correlations_table(analysis), quality_table(analysis)]
    if analysis.points:
        tables.append(points_table(analysis))
    tables.append(outliers_table(analysis))
    (directory / "index.md").write_text(
        "\n".join([_head(analysis), *sections, *map(to_markdown, tables)]), encoding="utf-8"
    )


def correlations_table(analysis: Analysis) -> Table:
    """One row per link, measure and proxy: Pearson's r and its square over the samples."""
    table = make_table(
        "discrepancy error (DED) against both proxies, over samples",
        ["layers", "DED of", "proxy", "samples", "n", "r", "R²"],
        labels=4,
    )
    for link in analysis.links:
        for fit in link.correlations:
            add_row(
                table,
                [
                    f"{link.layer},{link.layer + 1} ({link.place})",
                    MEASURES[fit.measure],
                    PROXIES[fit.proxy],
                    fit.over,
                    str(fit.samples),
                    _number(fit.r, "+.2f"),
                    _number(fit.r_squared, ".2f"),
                ],
            )
    set_caption(table, ["DED: error after layer-wise search minus error after joint search"])
    return table


def quality_table(analysis: Analysis) -> Table:
    """Full precision and the searches' start, on the held-out samples."""
    table = make_table("quality before any search", ["model", "accuracy", "KL", "answer loss"])
    rows = {"full precision": analysis.full_precision, "start": analysis.start}
    for name, quality in rows.items():
        add_row(table, [name, *_quality(quality)])
    set_caption(table, [_quality_caption(analysis)])
    return table


def points_table(analysis: Analysis) -> Table:
    """One row per point of the sweeps: cost and quality."""
    header = ["sweep", "value", "blocks", "forwards", "search s", "accuracy", "KL", "answer loss"]
    table = make_table("cost and quality of the search", header)
    for point in analysis.points:
        add_row(
            table,
            [
                point.sweep,
                f"{point.value:g}",
                str(point.blocks),
                f"{point.forward_equivalents:.1f}",
                f"{point.seconds:.1f}",
                *_quality(point.quality),
            ],
        )
    set_caption(table, [_quality_caption(analysis)])
    return table


def outliers_table(analysis: Analysis, rows: int = 10) -> Table:
    """The sites whose largest channel exceeds the median one the most."""
    table = make_table(
        "sites with the strongest outlier channels",
        ["site", "tokens", "median", "max", "max/median", "outliers", "largest channels"],
        labels=2,
    )
    ranked = sorted(analysis.ranges, key=lambda item: -(item.ratio or 0.0))
    for item in ranked[:rows]:
        add_row(
            table,
            [
                item.site,
                item.tokens,
                f"{item.median:.3g}",
                f"{item.maximum:.3g}",
                _number(item.ratio, ".1f"),
                str(item.outliers),
                " ".join(map(str, item.top_channels)),
            ],
        )
    set_caption(table, ["max |x| per channel; outliers: channels above 10 times the median"])
    return table


def _tables(analysis: Analysis) -> dict[str, tuple[Row, Iterable[Row]]]:
    """File -> header and rows."""
    samples = analysis.samples
    return {
        "ded.csv": (
            ("layer", "sample", "has_image", "layerwise_error", "joint_error", "ded"),
            (
                (layer, sample.key, sample.has_image, *figures)
                for layer, rows in enumerate(
                    zip(analysis.layerwise_errors, analysis.joint_errors, analysis.ded, strict=True)
                )
                for sample, *figures in zip(samples, *rows, strict=True)
            ),
        ),
        "links.csv": (
            ("layer", "place", "sample", "has_image", "ded", "pair_ded", *PROXIES),
            (
                (link.layer, link.place, sample.key, sample.has_image, *figures)
                for link in analysis.links
                for sample, *figures in zip(
                    samples, link.ded, link.pair_ded, link.entropy, link.quantization_error,
                    strict=True,
                )
            ),
        ),
        "correlations.csv": (
            ("layer", "place", "measure", "proxy", "over", "samples", "r", "r_squared"),
            (
                (link.layer, link.place, f.measure, f.proxy, f.over, f.samples, f.r, f.r_squared)
                for link in analysis.links
                for f in link.correlations
            ),
        ),
        "dependency.csv": (
            ("layer", *PROXIES),
            (
                (layer, *values)
                for layer, values in enumerate(
                    zip(analysis.entropy, analysis.quantization_error, strict=True)
                )
            ),
        ),
        "depth_errors.csv": (
            ("partition", "depth", "layer", "error"),
            (
                (run.partition, run.depth, layer, error)
                for run in analysis.depth_errors
                for layer, error in enumerate(run.errors)
            ),
        ),
        "sweeps.csv": (
            ("sweep", "value", "blocks", "forward_equivalents", "seconds", "samples", "correct",
             "accuracy", "kl", "answer_loss", "generated_accuracy"),
            (
                (p.sweep, p.value, p.blocks, p.forward_equivalents, p.seconds, p.quality.samples,
                 p.quality.correct, p.quality.accuracy, p.quality.kl, p.quality.answer_loss,
                 p.quality.generated_accuracy)
                for p in analysis.points
            ),
        ),
        "ranges.csv": (
            ("site", "tower", "layer", "role", "tokens", "count", "median", "p99", "maximum",
             "ratio", "outliers", "top_channels", "top_values"),
            (
                (r.site, r.tower, r.layer, r.role, r.tokens, r.count, r.median, r.p99, r.maximum,
                 r.ratio, r.outliers, " ".join(map(str, r.top_channels)),
                 " ".join(map(str, r.top_values)))
                for r in analysis.ranges
            ),
        ),
    }  # fmt: skip


def _head(analysis: Analysis) -> str:
    images = sum(sample.has_image for sample in analysis.samples)
    cost = "; ".join(
        f"{PROXIES[name]} {analysis.proxy_forward_equivalents[name]:.1f} forwards and "
        f"{analysis.proxy_seconds[name]:.1f} s"
        for name in PROXIES
    )
    lines = [
        f"# Analysis of {analysis.model}, {analysis.recipe.get('name', 'recipe')}",
        "",
        f"{len(analysis.samples)} calibration samples, {images} with an image "
        f"({analysis.calibration_source}); {len(analysis.held_out_ids)} held-out samples judge "
        f"the quality ({analysis.held_out}). Searches run without the guard. "
        f"What only the proxies cost: {cost}. {analysis.seconds:.0f} s in all on "
        f"{analysis.machine.get('processor', 'an unknown processor')}, "
        f"{analysis.machine.get('threads', '?')} threads.",
        "",
        *(f"- {note}" for note in analysis.notes),
        "",
        "The figures are in `analysis.json` and, plot by plot, in the CSV files beside it.",
        "",
    ]
    return "\n".join(lines)


def _quality(quality: Quality) -> list[str]:
    generated = quality.generated_accuracy
    extra = "" if generated is None else f" ({generated:.1f} generated)"
    return [f"{quality.accuracy:.1f}{extra}", f"{quality.kl:.4f}", f"{quality.answer_loss:.4f}"]


def _quality_caption(analysis: Analysis) -> str:
    return (
        f"{analysis.full_precision.samples} held-out samples; exact matches in %; "
        "KL to full precision and answer loss in nats per answer token"
    )


def _number(value: float | None, form: str) -> str:
    return NONE if value is None else format(value, form)
