"""A recipe: everything that decides what a quantization run does."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from qvlm.schemes.layer import FLOAT_BITS, Frozen, LayerScheme, WeightScheme

TokenWeightKind = Literal["uniform", "modality_balanced", "answer", "gradient"]
"""How much a position counts: every one alike; image, text and answer positions each with a third
of the say; only those that predict the answer; or by the gradient of the answer loss."""


DEFAULT_GUARD = 0.25


class CalibrationSettings(Frozen):
    """Which samples are looked at."""

    samples: int = Field(default=64, ge=2)
    batch_size: int = Field(default=8, ge=1)
    guard_fraction: float | None = Field(default=None, ge=0.0, lt=1.0)
    """Share of the samples kept out to judge search and rounding (0 = no guard). null: a quarter
    where something is searched; else none, since all that is left is second-order rounding, which
    takes no weight row that fits the calibration inputs worse than the nearest one."""
    max_image_pixels: int = Field(default=40_000_000, ge=1)
    expert_tokens: int = Field(default=64, ge=0)
    """An expert that fewer tokens were routed to has the range over all experts of its layer."""
    share_heads: bool = False
    """Query heads that share a value head share their ranges, which then can move into its rows:
    what `qvlm export` needs for static ranges per channel."""


class PartitionSettings(Frozen):
    """How layers are grouped into blocks (METHOD: block partition)."""

    proxy: Literal["entropy", "quantization_error", "fixed", "single_layer"] = "entropy"
    """What stands for the dependency of consecutive layers; the last two look at none."""
    depth: int = Field(default=3, ge=1)
    """Longest block, in layers."""
    threshold: float | None = None
    """h0 in the proxy's unit (entropy: nats); None = the mean dependency of the tower."""


class SearchSettings(Frozen):
    """How the clipping percentiles of a block are chosen."""

    strategy: Literal["coordinate", "exhaustive", "beam", "none"] = "coordinate"
    """`none` keeps the start."""
    start: Literal["lp", "minmax"] = "lp"
    """Layer-wise lp optimum, or the plain extremes."""
    lp_norm: float = Field(default=2.4, gt=0)
    percentiles: tuple[float, ...] = (1.0, 0.995, 0.99, 0.985, 0.98)
    objective: Literal["normalized", "l2"] = "normalized"
    token_weights: TokenWeightKind = "modality_balanced"
    """A mean over all tokens is ruled by image and prompt tokens, which hardly decide answers."""
    max_sweeps: int = Field(default=3, ge=1)
    budget: float = Field(default=40.0, gt=0)
    """Most forward equivalents that a coordinate search may spend."""
    beam_width: int = Field(default=4, ge=1)

    @field_validator("percentiles")
    @classmethod
    def _descending(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not values or any(not 0.5 < p <= 1.0 for p in values):
            raise ValueError("percentiles must lie in (0.5, 1.0]")
        if list(values) != sorted(set(values), reverse=True) or values[0] != 1.0:
            raise ValueError("percentiles must start at 1.0 and fall")
        return values


class RoundingSettings(Frozen):
    """How second-order rounding goes about it, in towers whose weights ask for `gptq`."""

    damping: float = Field(default=0.01, ge=0.0)
    """Share of the mean diagonal of the Hessian that is added to its diagonal."""
    activation_order: bool = False
    """Largest inputs first, on grids fixed beforehand, instead of left to right."""
    shrinkage: float = Field(default=0.0, ge=0.0, le=1.0)
    """Share by which correlations between channels count less: few tokens overstate them."""
    passes: Literal["site", "layer"] = "layer"
    """Look at the inputs again after every rounded site of a layer, or once per layer."""
    token_weights: TokenWeightKind = "uniform"
    """Weight of every position in the Hessian."""


class VisionOptimizationSettings(Frozen):
    """How the vision tower is fine-tuned before it is quantized (METHOD: vision encoder).

    The calibration samples that have an image are used, in batches of `calibration.batch_size`.
    """

    epochs: int = Field(default=10, ge=1)
    learning_rate: float = Field(default=1e-5, gt=0)
    entropy_weight: float = Field(default=0.01, ge=0)
    """l1: share of the weighted dependency of the language model's layers, in nats."""
    error_weight: float = Field(default=1.0, ge=0)
    """l2: share of the distance to the original model."""
    output_weight: float = Field(default=1.0, ge=0)
    """eta: the last hidden state's part of that distance; the vision tower's output counts 1."""
    validation_fraction: float = Field(default=0.25, gt=0, lt=1)
    """Share of these samples that does not train but decides which epoch is kept."""
    patience: int = Field(default=3, ge=1)
    """Epochs without a better validation loss after which training ends."""
    checkpointing: bool = True
    """Recompute the language model's layers in the backward pass: less memory, more time."""


class Recipe(Frozen):
    """All choices of a run; saved as `recipe.yaml` beside the result."""

    name: str = "custom"
    description: str = ""
    language: LayerScheme | None = LayerScheme()
    projector: LayerScheme | None = LayerScheme()
    vision: LayerScheme | None = LayerScheme()
    """A tower set to null stays in floating point."""
    lm_head: LayerScheme | None = None
    """The output layer; null keeps it in floating point."""
    embeddings: WeightScheme | None = None
    """The table of token embeddings, whose rows are looked up and multiply nothing; null keeps it
    in floating point."""
    adapter: Literal["auto", "generic"] = "auto"
    """`generic` derives the towers from the module tree, for models without an adapter."""
    exclude: tuple[str, ...] = ()
    """Regular expressions over module paths whose layers stay in floating point."""
    group_size_fallback: Literal["error", "largest_divisor"] = "error"
    """What happens where a group size does not divide a layer's width."""
    calibration: CalibrationSettings = CalibrationSettings()
    partition: PartitionSettings = PartitionSettings()
    search: SearchSettings = SearchSettings()
    rounding: RoundingSettings = RoundingSettings()
    vision_optimization: VisionOptimizationSettings | None = None
    """Fine-tuning of the vision tower before the search; null leaves the tower as it is."""
    seed: int = 0

    @field_validator("exclude")
    @classmethod
    def _compiles(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"'{pattern}' is not a regular expression: {error}") from error
        return patterns

    @field_validator("embeddings")
    @classmethod
    def _a_table(cls, scheme: WeightScheme | None) -> WeightScheme | None:
        if scheme is not None and scheme.rounding != "nearest":
            raise ValueError("embeddings multiply no inputs to round for: set rounding to nearest")
        if scheme is not None and scheme.bits == FLOAT_BITS:
            raise ValueError("embeddings of 16 bits are in floating point: set embeddings to null")
        return scheme

    @property
    def guard_fraction(self) -> float:
        """Share of the calibration samples that judge and do not calibrate."""
        if self.calibration.guard_fraction is not None:
            return self.calibration.guard_fraction
        return 0.0 if self.search.strategy == "none" else DEFAULT_GUARD

    def tower_scheme(self, tower: str) -> LayerScheme | None:
        """Scheme of a tower: `language`, `projector`, `vision` or `head`.

        A second tower of a kind (`vision_global`) has the scheme of its kind.
        """
        schemes = {
            "language": self.language,
            "projector": self.projector,
            "vision": self.vision,
            "head": self.lm_head,
        }
        return schemes[tower.partition("_")[0]]
