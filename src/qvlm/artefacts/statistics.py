"""What the full-precision model's activations look like, site by site."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class SiteStats:
    """Candidate ranges of one site.

    Attributes:
        lower: [percentiles, channels] float32, (1 - p) quantile of every channel.
        upper: [percentiles, channels] float32, p quantile of every channel.
        lp_error: [percentiles] float64, mean |x - x^|^lp_norm at the tower's bits and granularity.
        tokens: number of positions seen.
    """

    lower: torch.Tensor
    upper: torch.Tensor
    lp_error: torch.Tensor
    tokens: int


@dataclass(frozen=True)
class ActivationStats:
    """Outcome of the observe stage.

    Attributes:
        percentiles: the candidates, falling from 1.0.
        sites: site name -> its candidate ranges (static sites only).
        dependency: tower -> D(k, k+1) in nats for consecutive layers (METHOD: entropy).
        forward_equivalents: full-precision forwards spent per calibration sample.
        seconds: wall time, the entropy's part included.
        entropy_seconds: the part of it that only the dependency needed.
    """

    percentiles: tuple[float, ...]
    sites: dict[str, SiteStats]
    dependency: dict[str, tuple[float, ...]]
    forward_equivalents: float
    seconds: float
    entropy_seconds: float
