"""What the compressed-tensors schema says of a quantized layer, or why it cannot."""

from __future__ import annotations

from typing import Any

from qvlm.artefacts.checkpoint import QuantizedLayer
from qvlm.schemes.layer import FLOAT_BITS, ActivationScheme

Scheme = dict[str, Any]
"""`weights`, `input_activations` and `format` of one of the schema's config groups."""
INT_QUANTIZED, PACKED = "int-quantized", "pack-quantized"
MIXED = "mixed-precision"
_PRESETS = {(8, 8): "w8a8, w8a8-static or w8a8-dynamic", (4, 16): "w4a16-symmetric"}
"""Bits of weights and activations -> recipes that the schema can say."""


def scheme_of(layer: QuantizedLayer) -> Scheme:
    """Returns the schema's fields of a layer; ranges per channel count as folded."""
    weights = {
        "num_bits": layer.weight_bits,
        "type": "int",
        "symmetric": layer.symmetric,
        "strategy": "channel" if layer.group_size == layer.in_features else "group",
        "group_size": None if layer.group_size == layer.in_features else layer.group_size,
        "dynamic": False,
    }
    activations = _activations(layer.activations)
    plain = weights["strategy"] == "channel" and layer.symmetric and layer.weight_bits == 8
    eight = plain and layer.activations.bits == 8
    return {
        "weights": _without_none(weights),
        "input_activations": activations,
        "format": INT_QUANTIZED if eight else PACKED,
    }


def reason_against(layer: QuantizedLayer) -> str | None:
    """Why a layer cannot be said in the schema, with the way out; None where it can."""
    activations = layer.activations
    if not layer.symmetric:
        # Transformers 5.23 makes room for them unpacked, and then finds them packed.
        return (
            "its weights have zero points, which Transformers does not load: quantize with "
            f"{way_out(layer)}"
        )
    if activations.is_grouped:
        return (
            "its input has a range per token and group, which no server computes: quantize with "
            f"{way_out(layer)}"
        )
    per_channel = activations.is_static and activations.granularity == "per_channel"
    if not per_channel or activations.symmetric:
        return None
    return (
        "its input has a zero point per channel, which the schema cannot say: quantize with "
        f"{way_out(layer)}"
    )


def way_out(layer: QuantizedLayer) -> str:
    """What to quantize with instead, of a layer's bits."""
    bits = (layer.weight_bits, layer.activations.bits)
    preset = _PRESETS.get(bits)
    if preset is not None:
        return f"--recipe {preset}"
    field = layer.tower.partition("_")[0]
    field = "lm_head" if field == "head" else field
    return f"--set {field}.weights.symmetric=true --set {field}.activations.granularity=per_token"


def _activations(scheme: ActivationScheme) -> Scheme | None:
    if scheme.bits == FLOAT_BITS:
        return None
    per_token = scheme.granularity == "per_token"
    return {
        "num_bits": scheme.bits,
        "type": "int",
        "symmetric": scheme.symmetric,
        "strategy": "token" if per_token else "tensor",
        "dynamic": per_token,
    }


def _without_none(fields: Scheme) -> Scheme:
    return {name: value for name, value in fields.items() if value is not None}
