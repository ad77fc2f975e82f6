"""One range for all query heads that share a value head, so that it can move into its rows."""

from __future__ import annotations

import torch
from torch import nn

from qvlm.artefacts import ModelMap
from qvlm.models.producers import value_heads
from qvlm.observe.tails import Ranges


def share_heads(
    ranges: dict[str, Ranges], model: nn.Module, model_map: ModelMap
) -> dict[str, Ranges]:
    """Returns ranges where channel (j, i, d) of `attn_out` has those of all query heads i.

    Attention modules without a value projection of their own keep theirs.

    Args:
        ranges: site -> lower and upper bounds, each [percentiles, channels].
        model: whose attention modules say how their heads lie.
        model_map: of the model.
    """
    shared = dict(ranges)
    for site in model_map.sites:
        attention = model.get_submodule(site.linears[0].rpartition(".")[0])
        if site.name not in ranges or site.role != "attn_out" or not hasattr(attention, "v_proj"):
            continue
        heads = value_heads(attention, site.channels)
        lower, upper = ranges[site.name]
        if heads is not None and heads.queries > 1 and lower.shape[1] == site.channels:
            shape = (-1, heads.heads, heads.queries, heads.size)
            shared[site.name] = (
                _spread(lower.view(shape).amin(dim=2, keepdim=True), lower),
                _spread(upper.view(shape).amax(dim=2, keepdim=True), upper),
            )
    return shared


def _spread(bound: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """[percentiles, heads, 1, size] -> [percentiles, channels]."""
    queries = like.shape[1] // (bound.shape[1] * bound.shape[3])
    return bound.expand(-1, -1, queries, -1).reshape(like.shape)
