"""What an analysis of a model found; JSON that the plots and tables are drawn from."""

from __future__ import annotations

from typing import Any, Literal

from qvlm.schemes.layer import Frozen

Place = Literal["early", "middle", "late"]
Measure = Literal["ded", "pair_ded"]
Proxy = Literal["entropy", "quantization_error"]
Group = Literal["all", "image", "text"]


class AnalysisSample(Frozen):
    """One calibration sample that the search saw."""

    key: str
    has_image: bool


class Correlation(Frozen):
    """How well a straight line through a proxy tells the discrepancy error of a sample."""

    measure: Measure
    proxy: Proxy
    over: Group
    """Which samples: with and without an image differ in more than one thing."""
    samples: int
    r: float | None
    """Pearson's r; None where either side is constant, or there are fewer than 3 samples."""

    @property
    def r_squared(self) -> float | None:
        """Share of the variance that the line explains."""
        return None if self.r is None else self.r**2


class Link(Frozen):
    """Layers k and k+1 of the language model: every calibration sample's figures.

    All tuples follow `Analysis.samples`. DED = error after layer-wise search minus error after
    joint search, at the output of layer k+1; normalized errors, means over the sample's tokens.
    """

    place: Place
    layer: int
    """k."""
    ded: tuple[float, ...]
    """Both errors from the quantized model, everything before k+1 included."""
    pair_ded: tuple[float, ...]
    """Both errors from layers k and k+1 alone, on the full-precision path's input."""
    entropy: tuple[float, ...]
    """D(k, k+1) of the sample's tokens in nats, on the grids of all samples."""
    quantization_error: tuple[float, ...]
    """D_err(k, k+1) of the sample's tokens."""
    correlations: tuple[Correlation, ...]


class Quality(Frozen):
    """A model's answers to samples that were not calibrated on."""

    samples: int
    answer_loss: float
    """Next-token loss of the answers, nats per token."""
    kl: float
    """KL(full precision || model) where answers are predicted, nats per token."""
    correct: int
    """Samples of whose answer every token is the most likely one."""
    generated_accuracy: float | None = None
    """Per cent of generated answers that a task's scorer counts right; None without a task."""

    @property
    def accuracy(self) -> float:
        """Exact matches with the answer's earlier tokens given, per cent."""
        return 100 * self.correct / self.samples


class SearchPoint(Frozen):
    """One search: what was asked for, what it cost, how well the model answers after it."""

    sweep: Literal["depth", "fixed", "percentiles", "eta"]
    value: float
    """Longest block; length of every block; lowest percentile; eta, the weight of the language
    model's output error in the vision optimization."""
    overrides: tuple[str, ...]
    """Changes of the recipe that give this point."""
    blocks: int
    """Of all towers."""
    forward_equivalents: float
    """Of the search alone."""
    seconds: float
    """Of the search alone."""
    quality: Quality


class LayerErrors(Frozen):
    """Normalized error at every language-model layer's output, mean over calibration samples."""

    partition: Literal["recipe", "fixed"]
    """Blocks of at most `depth` layers as the recipe's proxy joins them, or runs of `depth`."""
    depth: int
    errors: tuple[float, ...]


class ChannelRange(Frozen):
    """max |x| per channel of what a site reads, over one kind of token."""

    site: str
    tower: str
    layer: int
    role: str
    tokens: Literal["image", "text"]
    count: int
    """Tokens seen."""
    median: float
    """Over the channels; as the next three."""
    p99: float
    maximum: float
    outliers: int
    """Channels above 10 times the median."""
    top_channels: tuple[int, ...]
    """The channels with the largest values, falling."""
    top_values: tuple[float, ...]

    @property
    def ratio(self) -> float | None:
        """maximum / median; None where the median channel is always zero."""
        return self.maximum / self.median if self.median > 0 else None


class Analysis(Frozen):
    """`analysis.json`."""

    format: Literal[1] = 1
    qvlm_version: str
    model: str
    architecture: str
    recipe: dict[str, Any]
    calibration_source: str
    samples: tuple[AnalysisSample, ...]
    """The calibration samples that the searches see; the guard's are left out, unused."""
    held_out: str
    """Where the samples that judge the quality come from."""
    held_out_ids: tuple[str, ...]
    full_precision: Quality
    start: Quality
    """Nothing searched: every site at the range that the searches start from."""
    layerwise_errors: tuple[tuple[float, ...], ...]
    """[layers][samples]: normalized error at the output after the layer-wise search."""
    joint_errors: tuple[tuple[float, ...], ...]
    """[layers][samples]: the same after the recipe's joint search."""
    blocks: tuple[tuple[int, int], ...]
    """First layer, and layer after the last, of the language model's blocks in the latter."""
    entropy: tuple[float, ...]
    """D(k, k+1) of the language model in nats, over all samples."""
    quantization_error: tuple[float, ...]
    """D_err(k, k+1) of the language model, over all samples."""
    proxy_seconds: dict[str, float]
    proxy_forward_equivalents: dict[str, float]
    links: tuple[Link, ...]
    depth_errors: tuple[LayerErrors, ...]
    points: tuple[SearchPoint, ...]
    ranges: tuple[ChannelRange, ...]
    notes: tuple[str, ...]
    """What was left out, and why."""
    seconds: float
    versions: dict[str, str]
    machine: dict[str, str]

    @property
    def ded(self) -> tuple[tuple[float, ...], ...]:
        """[layers][samples]: error after the layer-wise search minus error after the joint one."""
        return tuple(
            tuple(a - b for a, b in zip(*rows, strict=True))
            for rows in zip(self.layerwise_errors, self.joint_errors, strict=True)
        )
