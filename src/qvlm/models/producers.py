"""What makes the input of a site: a norm, or the rows of another linear.

A factor per channel of that input can be moved into what makes it, which is how ranges per channel
become one range of the whole tensor. Tables say where that is so; anything else is refused.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from qvlm.artefacts import Site
from qvlm.models.kinds import roles_of

_NORMS: dict[tuple[str, ...], dict[str, str]] = {
    ("input_layernorm", "mlp", "post_attention_layernorm", "self_attn"): {
        "attn_in": "input_layernorm",
        "mlp_in": "post_attention_layernorm",
    },
    ("layer_norm1", "layer_norm2", "mlp", "self_attn"): {
        "attn_in": "layer_norm1",
        "mlp_in": "layer_norm2",
    },
}
"""Parts of a layer that have parameters -> site -> the norm that it reads."""
_ROWS = {
    "self_attn.o_proj": "self_attn.v_proj",
    "self_attn.out_proj": "self_attn.v_proj",
    "mlp.down_proj": "mlp.up_proj",
}
"""Linear -> the linear whose rows scale its input."""
_ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj", "out_proj", "q_norm", "k_norm"}
_GATED = {"gate_proj", "up_proj", "down_proj"}


@dataclass(frozen=True)
class ValueHeads:
    """How the rows of a value projection become the input of the output projection.

    Row (j, d) of `heads` x `size` feeds the channels (j, i, d) of `heads` x `queries` x `size`.
    """

    heads: int
    queries: int
    size: int


@dataclass(frozen=True)
class Producer:
    """Where a factor per input channel of a site goes.

    Attributes:
        path: of a norm, or of a linear.
        rows: it is a linear, whose rows are multiplied; else a norm, whose weights are.
        heads: of a value projection; None where row c is channel c.
    """

    path: str
    rows: bool
    heads: ValueHeads | None = None


def producer_of(model: nn.Module, site: Site, layer_path: str) -> Producer | str:
    """Returns what makes a site's input, or why no factor can be moved into it.

    Args:
        model: may be without memory.
        site: of the layer.
        layer_path: module path of the layer.
    """
    layer = model.get_submodule(layer_path)
    parts = tuple(sorted(name for name, part in layer.named_children() if _has_parameters(part)))
    norm = _NORMS.get(parts, {}).get(site.role)
    if norm is not None:
        return _norm(layer, site, layer_path, norm)
    first = site.linears[0].removeprefix(f"{layer_path}.")
    if first not in _ROWS or len(site.linears) != 1:
        return "nothing before it takes a factor per channel"
    parent, _, _ = first.rpartition(".")
    allowed = _ATTENTION if parent == "self_attn" else _GATED
    children = {name for name, part in layer.get_submodule(parent).named_children()
                if _has_parameters(part)}  # fmt: skip
    if _ROWS[first].rpartition(".")[2] not in children or not children <= allowed:
        return "what comes before it is of another kind"
    path = f"{layer_path}.{_ROWS[first]}"
    if parent != "self_attn":
        return Producer(path, rows=True)
    heads = value_heads(layer.get_submodule(parent), site.channels)
    return "its heads are not laid out in groups" if heads is None else Producer(path, True, heads)


def value_heads(attention: nn.Module, channels: int) -> ValueHeads | None:
    """Heads of an attention module whose output projection reads that many channels, or None."""
    known: Any = attention
    size, rows = getattr(known, "head_dim", None), known.v_proj.out_features
    if not isinstance(size, int) or rows % size or channels % rows:
        return None
    return ValueHeads(rows // size, channels // rows, size)


def takes_factor(norm: nn.Module, width: int) -> bool:
    """True where twice the weight (and bias) of a norm means twice its output.

    Norms that add one to their weight, as Gemma's, do not.

    Args:
        norm: of the model, may be without memory.
        width: of its input.
    """
    probe = copy.deepcopy(norm).to_empty(device="cpu").float()
    x = torch.linspace(-1.0, 1.5, 2 * width).view(2, width)
    with torch.no_grad():
        for parameter in probe.parameters():
            parameter.copy_(torch.linspace(0.5, 2.0, width))
        once = probe(x)
        for parameter in probe.parameters():
            parameter.mul_(2.0)
        return torch.allclose(probe(x), 2 * once, rtol=1e-5)


def _norm(layer: nn.Module, site: Site, layer_path: str, name: str) -> Producer | str:
    roles = roles_of(layer) or {}
    readers = {f"{layer_path}.{linear}" for linear in roles.get(site.role, ())}
    left = sorted(readers - set(site.linears))
    if left:
        return f"'{left[0]}' reads the same norm and stays in floating point"
    norm = layer.get_submodule(name)
    if {part for part, _ in norm.named_parameters()} - {"weight", "bias"} or not takes_factor(
        norm, site.channels
    ):
        return f"its norm ({type(norm).__name__}) does more than multiply"
    return Producer(f"{layer_path}.{name}", rows=False)


def _has_parameters(module: nn.Module) -> bool:
    return next(module.parameters(), None) is not None
