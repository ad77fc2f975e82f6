"""Decisions: which layers form a block, and which percentile every site clips at."""

from __future__ import annotations

from qvlm.schemes.layer import Frozen


class Block(Frozen):
    """Layers start .. stop - 1 of a tower, searched together."""

    start: int
    stop: int


class Dependency(Frozen):
    """How strongly consecutive layers depend on each other, and what measuring it cost."""

    proxy: str
    """`entropy` (values in nats) or `quantization_error` (normalized errors, 0 .. 4)."""
    towers: dict[str, tuple[float, ...]]
    """Tower -> D(k, k+1), one value per link; higher = better searched together."""
    forward_equivalents: float
    """Forwards of the whole model that only the proxy needs."""
    seconds: float
    """Wall time that only the proxy needs."""


class TowerPlan(Frozen):
    """Partition of one tower."""

    tower: str
    blocks: tuple[Block, ...]
    threshold: float | None
    """h0 in the proxy's unit (None where the partition does not look at the dependency)."""
    dependency: tuple[float, ...]
    """D(k, k+1) in the unit of the plan's proxy; in nats where the proxy measures nothing."""


class BlockPlan(Frozen):
    """Partition of every tower; a small JSON that a person can read."""

    proxy: str
    depth: int
    towers: tuple[TowerPlan, ...]


class BlockSearch(Frozen):
    """What the search of one block did."""

    tower: str
    block: Block
    start: dict[str, float]
    """Site -> percentile before."""
    chosen: dict[str, float]
    """Site -> percentile after."""
    start_loss: float
    chosen_loss: float
    evaluations: int
    forward_equivalents: float
    """Block forwards spent, weighted by the block's share of all layers."""
    stopped_by_budget: bool = False


class Verdict(Frozen):
    """Quality of a quantized model on held-out samples, in nats per answer token."""

    answer_loss: float
    """Next-token loss of the answers."""
    kl: float
    """KL(full precision || quantized) of the next-token distribution at the answers."""

    @property
    def total(self) -> float:
        """What plans are compared by: loss by the data's answers and by the model's own."""
        return self.answer_loss + self.kl


class GuardOutcome(Frozen):
    """Verdict of the samples that the search did not see."""

    samples: int
    plans: dict[str, Verdict]
    """`searched`, and the starts `lp` and `minmax`."""
    base: str
    """The one of these that the others did not surely beat; `minmax` where none is."""
    kept_blocks: tuple[str, ...]
    """Blocks of the search in the outcome, for instance `language 3-5`: those that surely improve
    the base or agree with it."""
    blocks: int
    """Number of blocks that were searched."""
    final: Verdict
    """Of the plan that was taken in the end."""

    @property
    def fell_back(self) -> bool:
        """True where some block of the search was given up."""
        return len(self.kept_blocks) < self.blocks


class ClipPlan(Frozen):
    """The percentile of every static site, and how it was found."""

    percentiles: dict[str, float]
    blocks: tuple[BlockSearch, ...]
    guard: GuardOutcome | None
    forward_equivalents: float
    seconds: float
