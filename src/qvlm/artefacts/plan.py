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


class GuardOutcome(Frozen):
    """Verdict of the samples that the search did not see."""

    samples: int
    start_answer_loss: float
    start_kl: float
    chosen_answer_loss: float
    chosen_kl: float
    fell_back: bool
    """True where the chosen ranges were worse, so that the start is used."""


class ClipPlan(Frozen):
    """The percentile of every static site, and how it was found."""

    percentiles: dict[str, float]
    blocks: tuple[BlockSearch, ...]
    guard: GuardOutcome | None
    forward_equivalents: float
    seconds: float
