"""Which positions of a tower the rows of a site's input stand for."""

from __future__ import annotations

import torch
from torch import nn

from qvlm.artefacts import Site
from qvlm.models.experts import rows_of_expert


def at_site(model: nn.Module, site: Site, values: torch.Tensor) -> torch.Tensor:
    """Returns what a value per position is at the rows that a site reads, [rows].

    Call it from a hook on one of the site's linears: which tokens an expert reads is known only
    while it runs.

    Args:
        model: the model that is running.
        site: reads positions of its tower: all of them, or those routed to an expert.
        values: [samples, positions], for instance where padding is.
    """
    flat = values.flatten()
    return flat if site.expert is None else flat[rows_of_expert(model, site.linears[0])]
