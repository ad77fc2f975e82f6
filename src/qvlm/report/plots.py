"""The plots of an analysis, as PNG and SVG; drawn from saved figures alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from qvlm.report.analysis import MEASURES, PROXIES

if TYPE_CHECKING:  # values are only read
    from qvlm.artefacts.analysis import Analysis, ChannelRange, Link, SearchPoint

IMAGE, TEXT = "tab:blue", "tab:orange"
STYLE: Any = {
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "none",
    "svg.hashsalt": "qvlm",  # the same figures give the same file
}


@dataclass(frozen=True)
class Plot:
    """A plot that was written as `name`.png and `name`.svg.

    Attributes:
        name: of the files.
        title: of its section.
        sentence: how to read it.
    """

    name: str
    title: str
    sentence: str


def draw_all(directory: Path, analysis: Analysis) -> tuple[Plot, ...]:
    """Draws every plot that the analysis has figures for, in reading order."""
    drawn = []
    with rc_context(STYLE):
        for plot, figure in _figures(analysis):
            FigureCanvasAgg(figure)
            figure.savefig(directory / f"{plot.name}.png", dpi=110, metadata={"Software": None})
            figure.savefig(directory / f"{plot.name}.svg", metadata={"Date": None})
            drawn.append(plot)
    return tuple(drawn)


def _figures(analysis: Analysis) -> Iterator[tuple[Plot, Figure]]:
    yield (
        Plot(
            "ded",
            "What joint search gains, layer by layer",
            "DED = error after layer-wise search minus error after joint search at a layer's "
            "output: above 0 the joint search is better; one dot per calibration sample.",
        ),
        _ded(analysis),
    )
    for proxy, name in PROXIES.items():
        if analysis.links:
            yield (
                Plot(
                    f"ded-{proxy.replace('_', '-')}",
                    f"DED against {name}",
                    f"Does {name} foretell a sample's DED? Top: the whole model; bottom: the two "
                    "layers searched alone, on the full-precision path's input.",
                ),
                _scatter(analysis, proxy),
            )
    yield (
        Plot(
            "dependency",
            "Both proxies along the language model",
            "The dependency of consecutive layers by entropy and by quantization error; grey: "
            "layers that the recipe's partition joined.",
        ),
        _dependency(analysis),
    )
    yield (
        Plot(
            "depth-errors",
            "Error per layer for blocks of 1, 2 and 3 layers",
            "Normalized error of the language model's hidden state at every layer's output, mean "
            "over the calibration samples.",
        ),
        _depth_errors(analysis),
    )
    labels = {
        "depth": "longest block, layers",
        "percentiles": "lowest percentile",
        "eta": "eta",
    }
    for sweep, label in labels.items():
        points = [point for point in analysis.points if point.sweep == sweep]
        if points:
            yield (
                Plot(
                    f"sweep-{sweep}",
                    f"Cost and quality against {label.partition(',')[0]}",
                    "What the search costs, and how well the model answers held-out samples "
                    "after it; dotted: the start of the search; dashed: full precision.",
                ),
                _sweep(analysis, points, label),
            )
    yield (
        Plot(
            "ranges",
            "Activation ranges and outlier channels",
            "max |x| per channel of what each language-model site reads: solid the largest "
            "channel, dashed the 99th percentile, dotted the median one; image and text tokens "
            "apart.",
        ),
        _ranges(analysis),
    )


def _ded(analysis: Analysis) -> Figure:
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


def _scatter(analysis: Analysis, proxy: str) -> Figure:
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
    (fit,) = [f for f in link.correlations if (f.measure, f.proxy) == (measure, proxy)]
    told = "constant" if fit.r is None else f"R² = {fit.r**2:.2f} (r = {fit.r:+.2f})"
    axes.set_title(
        f"layers {link.layer},{link.layer + 1} ({link.place})\n{told}, n = {fit.samples}"
    )
    axes.ticklabel_format(axis="y", scilimits=(-2, 3))


def _dependency(analysis: Analysis) -> Figure:
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


def _depth_errors(analysis: Analysis) -> Figure:
    figure = Figure(figsize=(7, 3.2))
    axes = figure.subplots()
    for run, marker in zip(analysis.depth_errors, "osD", strict=True):
        axes.plot(run.errors, marker=marker, label=f"depth {run.depth}")
    axes.set_xlabel("language-model layer")
    axes.set_ylabel("normalized error at the output")
    axes.legend()
    return figure


def _sweep(analysis: Analysis, points: Sequence[SearchPoint], label: str) -> Figure:
    figure = Figure(figsize=(9.6, 2.9))
    forwards, divergence, accuracy = figure.subplots(1, 3)
    x = list(range(len(points)))
    panels: tuple[tuple[Any, str, Callable[[SearchPoint], float]], ...] = (
        (forwards, "search cost, forwards", lambda p: p.forward_equivalents),
        (divergence, "KL to full precision, nats", lambda p: p.quality.kl),
        (accuracy, "next-token answers right, %", lambda p: p.quality.accuracy),
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


def _ranges(analysis: Analysis) -> Figure:
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
