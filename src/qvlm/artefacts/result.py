"""`result.json`: what a run did, to what, with what, at what cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from pydantic import Field

from qvlm.artefacts.checkpoint import QuantizedTable
from qvlm.artefacts.plan import BlockPlan, GuardOutcome
from qvlm.artefacts.rounding import RoundingOutcome
from qvlm.artefacts.vision import VisionPlan
from qvlm.schemes.layer import Frozen


class StageCost(Frozen):
    """Cost of one stage."""

    seconds: float
    forward_equivalents: float = 0.0
    """Forwards of the whole model over the calibration samples that the stage looks at."""


class LayerBits(Frozen):
    """What one linear really became."""

    path: str
    weight_bits: int
    activation_bits: int
    activation_granularity: str
    percentile: float | None
    bits_per_weight: float
    """Bytes of levels, scales, zero points and its share of the input's, in bits per weight."""


class Sizes(Frozen):
    """Bytes on disk."""

    quantized_bytes: int
    """Quantized layers: packed levels, scales and zero points, of weights and inputs."""
    float32_bytes: int
    """The same layers' weights in fp32."""
    checkpoint_bytes: int
    """The whole weights file."""

    @property
    def ratio(self) -> float:
        """Quantized over fp32 bytes of the quantized layers."""
        return self.quantized_bytes / self.float32_bytes


class Result(Frozen):
    """Outcome of a quantization run."""

    qvlm_version: str
    model: str
    commit: str | None = None
    """Of a model of the hub: what was quantized of its repository."""
    architecture: str
    recipe: dict[str, Any]
    calibration_source: str
    calibration_ids: tuple[str, ...]
    guard_ids: tuple[str, ...]
    sample_fingerprints: tuple[str, ...]
    """Of all these samples: they are recognized wherever their data set lies."""
    seed: int
    stages: dict[str, StageCost]
    total_seconds: float
    peak_rss_bytes: int
    sizes: Sizes
    layers: tuple[LayerBits, ...]
    embeddings: QuantizedTable | None = None
    """The token embeddings, where they are quantized."""
    skipped: dict[str, str]
    sparse_experts: dict[str, int] = Field(default_factory=dict)
    """Sites of experts that saw fewer tokens than the recipe's `calibration.expert_tokens`, with
    how many: their range is that of all experts of their layer."""
    blocks: BlockPlan
    guard: GuardOutcome | None
    rounding: RoundingOutcome | None = None
    """Second-order rounding; null where every weight was rounded to nearest."""
    vision: VisionPlan | None = None
    """What the vision-encoder optimization did, where the recipe asks for it."""
    processes: int = 1
    """That shared the calibration samples; peak_rss_bytes is that of the largest."""
    device: str = "cpu"
    """Where the calibration ran: `cpu`, or the name of a GPU."""
    resumed_steps: int = 0
    """Pieces of work that an interrupted process had finished; the seconds do not count them."""
    warnings: tuple[str, ...]
    versions: dict[str, str]
    machine: dict[str, str]


def bits_text(layers: Iterable[tuple[int, int]]) -> str:
    """Returns, for instance, `W4A4 + W8A8`: bits of all layers, those that most have first.

    Args:
        layers: weight and activation bits of each.
    """
    ordered = Counter(layers).most_common()
    return " + ".join(f"W{weights}A{inputs}" for (weights, inputs), _ in ordered)
