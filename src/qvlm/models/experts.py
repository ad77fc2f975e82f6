"""Mixture of experts: every expert as linears, fused parameters of all experts too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from qvlm.models.replay import replace_module

FIRST, LAST = "gate_up_proj", "down_proj"
AT_ONCE = 2 << 30
"""Weights of a layer's experts that come into memory together, where layers are on disk; bytes."""


def split_experts(model: nn.Module) -> None:
    """Replaces fused experts by modules of linears, whose weights are views of the same memory.

    Does nothing to a model without fused experts.
    """
    for path, module in list(model.named_modules()):
        if _is_fused(module):
            replace_module(model, path, _from_fused(module))


def fused_experts(model: nn.Module) -> tuple[str, ...]:
    """Paths of the modules whose experts are fused tensors; none after `split_experts`."""
    return tuple(path for path, module in model.named_modules() if _is_fused(module))


def experts_one_by_one(layer: nn.Module) -> tuple[str, ...]:
    """Paths, below a layer, of the experts that are read one at a time where layers are on disk.

    None of them where all together take no more than `AT_ONCE`: reading them once is faster.
    """
    mixtures = [(path, part) for path, part in layer.named_modules() if _is_split(part)]
    weights = (p for _, part in mixtures for p in part.parameters())
    if sum(p.numel() * p.element_size() for p in weights) <= AT_ONCE:
        return ()
    return tuple(f"{path}.{index}" for path, part in mixtures for index, _ in part.named_children())


def rows_of_expert(model: nn.Module, linear: str) -> torch.Tensor:
    """Rows, among all positions of the batch flattened, that an expert's linear is reading."""
    experts = model.get_submodule(linear.rsplit(".", 2)[0])
    if not isinstance(experts, LinearExperts) or experts.rows is None:
        raise RuntimeError(f"'{linear}' belongs to no expert that is running")
    return experts.rows


class Expert(nn.Module):
    """One expert of a fused module: a gated feed-forward of two linears, gate and up in one."""

    def __init__(self, gate_up: torch.Tensor, down: torch.Tensor, act_fn: nn.Module) -> None:
        super().__init__()
        self.gate_up_proj = _linear(gate_up)
        self.down_proj = _linear(down)
        self.act_fn = act_fn

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """hidden [tokens, channels] -> as hidden."""
        gate, up = self.gate_up_proj(hidden).chunk(2, dim=-1)
        output: torch.Tensor = self.down_proj(self.act_fn(gate) * up)
        return output


class LinearExperts(nn.Module):
    """Routes tokens to experts made of linears; the same function as a fused module's.

    Attributes:
        rows: [tokens of the expert that is running] int64, ascending; None between forwards.
    """

    def __init__(self, experts: Iterable[nn.Module]) -> None:
        super().__init__()
        for index, expert in enumerate(experts):
            self.add_module(str(index), expert)
        self.rows: torch.Tensor | None = None

    def forward(
        self, hidden: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        """hidden [tokens, channels], expert and weight per choice [tokens, k] -> as hidden."""
        output = torch.zeros_like(hidden)
        for index, expert in enumerate(self.children()):
            chosen = top_k_index == index
            self.rows = chosen.any(dim=-1).nonzero().squeeze(-1)
            if not len(self.rows):
                continue
            weight = (top_k_weights * chosen).sum(dim=-1)[self.rows].unsqueeze(-1)
            scaled = expert(hidden[self.rows]) * weight
            output.index_add_(0, self.rows, scaled.to(output.dtype))
        self.rows = None
        return output


def _from_fused(fused: Any) -> LinearExperts:
    """Takes over the weights of a fused module, [experts, out, in] each."""
    pairs = zip(fused.gate_up_proj.detach(), fused.down_proj.detach(), strict=True)
    return LinearExperts(Expert(gate_up, down, fused.act_fn) for gate_up, down in pairs)


def _is_fused(module: nn.Module) -> bool:
    parts = (getattr(module, FIRST, None), getattr(module, LAST, None))
    return all(isinstance(part, nn.Parameter) and part.ndim == 3 for part in parts)


def _is_split(module: nn.Module) -> bool:
    return isinstance(module, LinearExperts)


def _linear(weight: torch.Tensor) -> nn.Linear:
    """A linear without bias whose weight [out, in] is that very tensor."""
    outputs, inputs = weight.shape
    linear = nn.Linear(inputs, outputs, bias=False, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    return linear
