"""How the plots of an analysis look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from qvlm.report.analysis import MEASURES, PROXIES

if TYPE_CHECKING:  # values are only read
    from qvlm.artefacts.analysis import Analysis, ChannelRange, Link, SearchPoint

IMAGE, TEXT = "tab:blue", "tab:orange"


def ded(analysis: Analysis) -> Figure:
    """DED per layer: a dot per sample, a line through the means."""
    figure = Figure(figsize=(7, 3.2))
    axes = figure.subplots()
    for name, has_image, colour, shift in (
        ("with an image", True, IMAGE, -0.12),
        ("text only", False, TEXT, 0.12),
    ):
        columns = [i for i, s in enumerate(analysis.samples) if s.has_image == has_image]
        if not columns:
            continue
        x = [layer + shift for layer in range(len(analysis.ded)) for _ in columns]
        y = [row[i] for row in analysis.ded for i in columns]
        dots = axes.scatter(x, y, s=9, alpha=0.5, color=colour, label=name, linewidths=0)
        dots.set_gid(f"samples-{'image' if has_image else 'text'}")
    axes.plot([fmean(row) for row in analysis.ded], color="black", marker="o", label="mean")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set_xlabel("language-model layer")
    axes.set_ylabel("DED (normalized error)")
    axes.legend()
    return figure


def scatter(analysis: Analysis, proxy: str) -> Figure:
    """DED against a proxy: a row per measure, a column per link, a dot per sample."""
    links = analysis.links
    figure = Figure(figsize=(3.2 * len(links) + 0.4, 5.6))
    grid = figure.subplots(len(MEASURES), len(links), squeeze=False)
    for row, measure in zip(grid, MEASURES, strict=True):
        for axes, link in zip(row, links, strict=True):
            _scatter_one(analysis, axes, link, measure, proxy)
        row[0].set_ylabel(f"DED, {MEASURES[measure]}")
    for axes in grid[-1]:
        axes.set_xlabel(PROXIES[proxy] + (", nats" if proxy == "entropy" else ""))
    return figure


def _scatter_one(analysis: Analysis, axes: Any, link: Link, measure: str, proxy: str) -> None:
    x: Sequence[float] = getattr(link, proxy)
    y: Sequence[float] = getattr(link, measure)
    colours = [IMAGE if sample.has_image else TEXT for sample in analysis.samples]
    dots = axes.scatter(x, y, s=14, c=colours, alpha=0.7, linewidths=0)
    dots.set_gid(f"scatter-{link.place}-{measure}")
    axes.axhline(0, color="black", linewidth=0.8)
    fits = [f for f in link.correlations if (f.measure, f.proxy) == (measure, proxy)]
    told = ", ".join(
        f"{fit.over} {'none' if fit.r_squared is None else format(fit.r_squared, '.2f')}"
        for fit in fits
    )
    place = f"layers {link.layer},{link.layer + 1} ({link.place}), n = {fits[0].samples}"
    axes.set_title(f"{place}\nR²: {told}", fontsize=8)
    axes.ticklabel_format(axis="y", scilimits=(-2, 3))


def dependency(analysis: Analysis) -> Figure:
    """Both proxies per link, over the blocks of the partition."""
    figure = Figure(figsize=(7, 4))
    upper, lower = figure.subplots(2, 1, sharex=True)
    for axes, values, label in (
        (upper, analysis.entropy, "entropy, nats"),
        (lower, analysis.quantization_error, "quantization error"),
    ):
        for start, stop in analysis.blocks:
            if stop - start > 1:
                axes.axvspan(start, stop - 1, color="0.9")
        x = [k + 0.5 for k in range(len(values))]
        axes.plot(x, values, marker="o", color="black")
        axes.set_ylabel(label)
    lower.set_xlabel("language-model layer (a link lies between two)")
    return figure


def depth_errors(analysis: Analysis) -> Figure:
    """Error per layer, a line per search."""
    figure = Figure(figsize=(7, 3.2))
    axes = figure.subplots()
    for run in analysis.depth_errors:
        fixed = run.partition == "fixed"
        axes.plot(
            run.errors,
            "--" if fixed else "-",
            color=f"C{run.depth - 1}",
            marker="osD"[run.depth - 1],
            label=f"runs of {run.depth}" if fixed else f"at most {run.depth}",
        )
    axes.set_xlabel("language-model layer")
    axes.set_ylabel("normalized error at the output")
    axes.legend()
    return figure


def sweep(analysis: Analysis, points: Sequence[SearchPoint], label: str) -> Figure:
    """Cost and quality of the points of one sweep, in three panels."""
    figure = Figure(figsize=(9.6, 2.9))
    forwards, divergence, accuracy = figure.subplots(1, 3)
    x = list(range(len(points)))
    panels: tuple[tuple[Any, str, Callable[[SearchPoint], float]], ...] = (
        (forwards, "search cost, forwards", lambda p: p.forward_equivalents),
        (divergence, "KL to full precision, nats", lambda p: p.quality.kl),
        (accuracy, "answers right, %", lambda p: p.quality.accuracy),
    )
    for axes, name, value in panels:
        axes.plot(x, [value(point) for point in points], marker="o", color="black")
        axes.set_xticks(x, [f"{point.value:g}" for point in points])
        axes.set_xlabel(label)
        axes.set_ylabel(name)
    seconds = forwards.twinx()
    seconds.plot(x, [p.seconds for p in points], marker="s", color="tab:green", alpha=0.6)
    seconds.set_ylabel("search cost, s", color="tab:green")
    seconds.set_ylim(bottom=0)
    seconds.grid(visible=False)
    forwards.set_ylim(bottom=0)
    divergence.axhline(analysis.start.kl, color="black", linestyle=":")
    accuracy.axhline(analysis.start.accuracy, color="black", linestyle=":")
    accuracy.axhline(analysis.full_precision.accuracy, color="black", linestyle="--")
    return figure


def ranges(analysis: Analysis) -> Figure:
    """Largest, 99th percentile and median channel per layer, a panel per role of a site."""
    found = [item for item in analysis.ranges if item.tower == "language"]
    roles = list(dict.fromkeys(item.role for item in found))
    figure = Figure(figsize=(9.6, 2.6 * ((len(roles) + 1) // 2)))
    grid = figure.subplots((len(roles) + 1) // 2, 2, squeeze=False).flatten()
    for axes, role in zip(grid, roles, strict=False):
        for tokens, colour in (("image", IMAGE), ("text", TEXT)):
            sites = [item for item in found if (item.role, item.tokens) == (role, tokens)]
            if sites:
                _range_lines(axes, sites, colour)
        axes.set_yscale("log")
        axes.set_title(role)
        axes.set_ylabel("max |x|")
        axes.set_xlabel("layer")
        axes.legend()
    for axes in grid[len(roles) :]:
        axes.set_visible(False)
    return figure


def _range_lines(axes: Any, sites: Sequence[ChannelRange], colour: str) -> None:
    layers = [item.layer for item in sites]
    values = (
        ("-", [item.maximum for item in sites], sites[0].tokens),
        ("--", [item.p99 for item in sites], None),
        (":", [item.median for item in sites], None),
    )
    for line, heights, label in values:
        axes.plot(layers, heights, line, color=colour, label=label, marker=".", markersize=4)
