"""What one layer's activations look like, and how that is kept as a step."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from qvlm.artefacts.statistics import SiteStats
from qvlm.artefacts.steps import Step, Steps
from qvlm.observe.tails import Ranges


@dataclass(frozen=True)
class LayerStats:
    """What one layer's activations look like.

    Attributes:
        sites: static sites.
        link: D(k-1, k) in nats; 0 for the first layer.
        extremes: of the leading site, by name; [1, channels] each.
    """

    sites: dict[str, SiteStats]
    link: float
    extremes: dict[str, Ranges]


def save_layer(steps: Steps, name: str, found: LayerStats, forwards: int) -> None:
    """Keeps what a layer looked like, and how many forwards of it that took."""
    tensors: dict[str, torch.Tensor] = {}
    for site, stats in found.sites.items():
        tensors[f"{site}/lower"] = stats.lower
        tensors[f"{site}/upper"] = stats.upper
        tensors[f"{site}/lp_error"] = stats.lp_error
    for site, (lower, upper) in found.extremes.items():
        tensors[f"{site}/least"], tensors[f"{site}/most"] = lower, upper
    info = {
        "tokens": {site: stats.tokens for site, stats in found.sites.items()},
        "leaders": list(found.extremes),
        "link": found.link,
        "layer_forwards": forwards,
    }
    steps.save(name, info, tensors)


def read_layer(step: Step) -> LayerStats:
    """What `save_layer` kept."""
    tensors = step.tensors
    return LayerStats(
        sites={
            site: SiteStats(
                tensors[f"{site}/lower"],
                tensors[f"{site}/upper"],
                tensors[f"{site}/lp_error"],
                seen,
            )
            for site, seen in step.info["tokens"].items()
        },
        link=step.info["link"],
        extremes={
            site: (tensors[f"{site}/least"], tensors[f"{site}/most"])
            for site in step.info["leaders"]
        },
    )
