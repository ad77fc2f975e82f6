"""The plots of an analysis, as PNG and SVG; drawn from saved figures alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from qvlm.report import figures
from qvlm.report.analysis import PROXIES

if TYPE_CHECKING:  # values are only read
    from qvlm.artefacts.analysis import Analysis

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
            # The ticks of the final size may be other ones, and wider: only a second layout, which
            # `savefig` does, has room for them.
            figure.draw_without_rendering()
            figure.savefig(directory / f"{plot.name}.png", dpi=110, metadata={"Software": None})
            figure.set_layout_engine("none")  # it is laid out already, which takes a while
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
        figures.ded(analysis),
    )
    for proxy, name in PROXIES.items():
        if analysis.links:
            yield (
                Plot(
                    f"ded-{proxy.replace('_', '-')}",
                    f"DED against {name}",
                    f"Does {name} foretell a sample's DED? Top: the whole model; bottom: the two "
                    "layers searched alone, on the full-precision path's input. Blue: samples with "
                    "an image, orange: text only; `none`: one side is constant.",
                ),
                figures.scatter(analysis, proxy),
            )
    yield (
        Plot(
            "dependency",
            "Both proxies along the language model",
            "The dependency of consecutive layers by entropy and by quantization error; grey: "
            "layers that the recipe's partition joined.",
        ),
        figures.dependency(analysis),
    )
    yield (
        Plot(
            "depth-errors",
            "Error per layer for blocks of 1, 2 and 3 layers",
            "Normalized error of the language model's hidden state at every layer's output, mean "
            "over the calibration samples; solid: blocks of at most that length as the recipe "
            "joins them, dashed: runs of exactly that length.",
        ),
        figures.depth_errors(analysis),
    )
    labels = {
        "depth": "longest block, layers",
        "fixed": "length of every block, layers",
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
                figures.sweep(analysis, points, label),
            )
    yield (
        Plot(
            "ranges",
            "Activation ranges and outlier channels",
            "max |x| per channel of what each language-model site reads: solid the largest "
            "channel, dashed the 99th percentile, dotted the median one; image and text tokens "
            "apart.",
        ),
        figures.ranges(analysis),
    )
