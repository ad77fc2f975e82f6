"""OpenFlamingo's names of trained parameters -> those of `qvlm.models.open_flamingo`."""

from __future__ import annotations

import re

from qvlm.conversion.weights import Tensors

WORDS = "model.wte.weight"
LEFT_OUT = re.compile(r"vision_encoder\.")

_RESAMPLER = re.compile(r"perceiver\.layers\.(\d+)\.([01])\.(.+)")
# The same layers are known by two names, of which a file has one or both.
_GATED = re.compile(
    r"lang_encoder\.(?:transformer\.blocks\.(\d+)\.gated_cross_attn_layer"
    r"|gated_cross_attn_layers\.(\d+))\.(.+)"
)
_DECODER = re.compile(r"lang_encoder\.transformer\.blocks\.(\d+)\.decoder_layer\.(.+)")
_ATTENTION = {"to_q": "cross_attn.q_proj", "to_out": "cross_attn.o_proj"}
_FEED_FORWARD = {"0": "mlp.norm", "1": "mlp.fc1", "3": "mlp.fc2"}
_NORMS = {"norm_media": "norm_image", "norm_latents": "norm_latents", "norm": "norm"}
_FUSED = "to_kv"


def gated_layers(stored: Tensors) -> list[int]:
    """Returns the layers of the language model that a gated layer runs before."""
    return sorted({int(m[1] or m[2]) for m in map(_GATED.match, stored) if m})


def renamed(stored: Tensors) -> Tensors:
    """Renames a checkpoint's tensors; keys and values, which it fuses, become two.

    A name that is none of OpenFlamingo's stays as it is, and will be found unknown.
    """
    gated = gated_layers(stored)
    tensors: Tensors = {}
    for name, tensor in stored.items():
        new = _new_name(name, gated)
        if f".{_FUSED}." in new:
            keys, values = tensor.chunk(2)
            tensors[new.replace(_FUSED, "cross_attn.k_proj")] = keys.contiguous()
            tensors[new.replace(_FUSED, "cross_attn.v_proj")] = values.contiguous()
        else:
            tensors[new] = tensor
    return tensors


def _new_name(name: str, gated: list[int]) -> str:
    if match := _RESAMPLER.fullmatch(name):
        layer, part, rest = match.groups()
        table = _ATTENTION | _NORMS if part == "0" else _FEED_FORWARD
        return f"model.perceiver_resampler.layers.{layer}.{_leaf(rest, table)}"
    if match := _GATED.fullmatch(name):
        layer = gated.index(int(match[1] or match[2]))
        return f"model.gated_cross_attn_layers.{layer}.{_gated_leaf(match[3])}"
    if match := _DECODER.fullmatch(name):
        return f"model.blocks.{match[1]}.{match[2]}"
    for old, new in (
        ("perceiver.", "model.perceiver_resampler."),
        ("lang_encoder.transformer.", "model."),
    ):
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _gated_leaf(rest: str) -> str:
    if rest == "ff_gate":
        return "mlp_gate"
    part, _, leaf = rest.partition(".")
    if part == "attn":
        return _leaf(leaf, _ATTENTION | _NORMS)
    return _leaf(leaf, _FEED_FORWARD) if part == "ff" else rest


def _leaf(rest: str, table: dict[str, str]) -> str:
    part, _, leaf = rest.partition(".")
    return f"{table.get(part, part)}.{leaf}"
