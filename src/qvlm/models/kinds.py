"""The kinds of layers that LVLMs are built of, as tables: which linears read the same input.

A layer is an attention part and a feed-forward part. A table applies to a layer that has all of
its linears; together the tables that apply must name every linear of the layer once. So a stack
may mix kinds of layers, and an adapter need not say which language model it was built with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import nn

from qvlm.artefacts.layout import IMAGE_STATES

Roles = Mapping[str, tuple[str, ...]]
"""Role of a site -> paths, inside a layer, of the linears that read it; in execution order."""

LLAMA_ATTENTION: Roles = {
    "attn_in": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attn_out": ("self_attn.o_proj",),
}
CLIP_ATTENTION: Roles = {
    "attn_in": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attn_out": ("self_attn.out_proj",),
}
INTERNVL_ATTENTION: Roles = {
    "attn_in": ("attention.q_proj", "attention.k_proj", "attention.v_proj"),
    "attn_out": ("attention.projection_layer",),
}
FUSED_ATTENTION: Roles = {"attn_in": ("self_attn.qkv_proj",), "attn_out": ("self_attn.o_proj",)}
QWEN_VISION_ATTENTION: Roles = {"attn_in": ("attn.qkv",), "attn_out": ("attn.proj",)}
CROSS_ATTENTION: Roles = {
    "cross_in": ("cross_attn.q_proj",),
    IMAGE_STATES: ("cross_attn.k_proj", "cross_attn.v_proj"),
    "cross_out": ("cross_attn.o_proj",),
}
MPT_ATTENTION: Roles = {"attn_in": ("attn.Wqkv",), "attn_out": ("attn.out_proj",)}
MPT_MLP: Roles = {"mlp_in": ("ffn.up_proj",), "mlp_out": ("ffn.down_proj",)}
GATED_MLP: Roles = {"mlp_in": ("mlp.gate_proj", "mlp.up_proj"), "mlp_out": ("mlp.down_proj",)}
FUSED_MLP: Roles = {"mlp_in": ("mlp.gate_up_proj",), "mlp_out": ("mlp.down_proj",)}
CLIP_MLP: Roles = {"mlp_in": ("mlp.fc1",), "mlp_out": ("mlp.fc2",)}
QWEN3_VISION_MLP: Roles = {"mlp_in": ("mlp.linear_fc1",), "mlp_out": ("mlp.linear_fc2",)}
SHARED_EXPERT: Roles = {
    "shared_in": ("mlp.shared_expert.gate_proj", "mlp.shared_expert.up_proj"),
    "shared_out": ("mlp.shared_expert.down_proj",),
}
PHI_LAYER: Roles = {
    "attn_in": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "mlp.fc1"),
    "attn_out": ("self_attn.dense",),
    "mlp_out": ("mlp.fc2",),
}
"""Attention and feed-forward side by side, behind one norm."""
PHI_ATTENTION: Roles = {
    "attn_in": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attn_out": ("self_attn.dense",),
}
"""Of a Phi layer whose feed-forward part is a mixture of experts."""
LLAVA_PROJECTOR: Roles = {"fc1_in": ("linear_1",), "fc2_in": ("linear_2",)}
LLAMA_LAYER: Roles = {**LLAMA_ATTENTION, **GATED_MLP}
CLIP_LAYER: Roles = {**CLIP_ATTENTION, **CLIP_MLP}

PARTS: Sequence[Roles] = (
    PHI_LAYER,
    PHI_ATTENTION,
    LLAMA_ATTENTION,
    CLIP_ATTENTION,
    INTERNVL_ATTENTION,
    FUSED_ATTENTION,
    QWEN_VISION_ATTENTION,
    CROSS_ATTENTION,
    MPT_ATTENTION,
    MPT_MLP,
    GATED_MLP,
    FUSED_MLP,
    CLIP_MLP,
    QWEN3_VISION_MLP,
    SHARED_EXPERT,
    LLAVA_PROJECTOR,
)
ROUTERS = ("mlp.gate", "mlp.shared_expert_gate")
"""Linears that decide which expert gets a token, or how much it counts: they stay as they are."""
_EXPERT = re.compile(r"mlp\.experts\.(\d+)\.(?:(gate_up_proj|gate_proj|up_proj|fc1)|down_proj|fc2)")


def roles_of(layer: nn.Module) -> Roles | None:
    """Returns the sites of a layer, or None where it is of no known kind."""
    left = set(linears_of(layer)) - set(ROUTERS)
    roles: dict[str, tuple[str, ...]] = {}
    for part in PARTS:
        linears = {linear for group in part.values() for linear in group}
        if linears <= left:
            roles |= part
            left -= linears
    experts = sorted(
        (int(match[1]), match[2] is None, match[0])
        for match in map(_EXPERT.fullmatch, left)
        if match
    )
    for expert, is_output, linear in experts:
        role = expert_role(expert, is_output)
        roles[role] = (*roles.get(role, ()), linear)
        left.remove(linear)
    return roles if roles and not left else None


def one_site_each(module: nn.Module) -> Roles:
    """Returns a site for every linear: right for any module that runs them in this order."""
    return {f"{path.replace('.', '_')}_in".lstrip("_"): (path,) for path in linears_of(module)}


def linears_of(module: nn.Module) -> tuple[str, ...]:
    """Paths of the linears of a module; "" is the module itself."""
    return tuple(name for name, part in module.named_modules() if isinstance(part, nn.Linear))


def expert_role(expert: int, is_output: bool) -> str:
    """Role of what the first linears of an expert read, or its last one."""
    return f"expert_{expert}_{'out' if is_output else 'in'}"


def expert_of(role: str) -> int | None:
    """The expert of a role; None where every position takes that way."""
    match = re.fullmatch(r"expert_(\d+)_(in|out)", role)
    return int(match[1]) if match else None
