"""A feed-forward part made of experts and a router, for language models that have none."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional as F

from qvlm.models.experts import LinearExperts


class TopKMixture(nn.Module):
    """Sends every token to its k most likely experts, however many others go there.

    GShard's gate (arXiv 2006.16668) without its capacity. One expert is weighted by its
    probability; several by theirs, scaled to a sum of 1.
    """

    def __init__(self, channels: int, experts: Iterable[nn.Module], top_k: int) -> None:
        super().__init__()
        self.experts = LinearExperts(experts)
        self.gate = nn.Linear(channels, len(list(self.experts.children())), bias=False)
        self.top_k = top_k

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """hidden [..., channels] -> as hidden; the router computes in float32."""
        tokens = hidden.reshape(-1, hidden.shape[-1])
        probabilities = F.linear(tokens.float(), self.gate.weight.float()).softmax(dim=-1)
        weights, chosen = probabilities.topk(self.top_k, dim=-1)
        if self.top_k > 1:
            weights = weights / weights.sum(dim=-1, keepdim=True)
        mixed: torch.Tensor = self.experts(tokens, chosen, weights.to(hidden.dtype))
        return mixed.view_as(hidden)
