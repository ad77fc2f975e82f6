"""Bytes of a checkpoint where a library saves none that can be compared: from the stated bits."""

from __future__ import annotations

from typing import Any

from rival import Case, Outcome
from torch import nn

from qvlm.models import describe

ZERO_POINT_AND_SCALE = 5
"""Bytes per channel of a static activation grid: a float32 scale, a uint8 zero point."""


def computed_bytes(case: Case, outcome: Outcome, model: nn.Module) -> int:
    """Bytes of all weights: quantized linears at their stated bits, the rest as it is.

    Args:
        case: its quantized model, and the preset that the surroundings' bits come from.
        outcome: the language model's bits.
        model: a full-precision copy of the model.
    """
    model_map = describe(model, case.recipe)
    total = float(float_bytes(model))
    if _is_tied(model) and not _is_tied(case.model):  # as a rotation leaves it
        total += case.model.lm_head.weight.nbytes
    for site in model_map.sites:
        inside = site.tower == "language"
        scheme = case.recipe.tower_scheme(site.tower)
        if scheme is None:
            continue
        weights = scheme.weights
        bits = outcome.weight_bits if inside else weights.bits
        group = (outcome.group if inside else weights.group) or site.channels
        ours = 16 if weights.symmetric else 16 + weights.bits
        scale_bits = outcome.scale_bits if inside else ours
        if inside and outcome.axis == "channel":
            total += ZERO_POINT_AND_SCALE * site.channels
        for path in site.linears:
            weight = model.get_submodule(path).weight
            total -= weight.nbytes
            total += weight.numel() * (bits + scale_bits / group) / 8
    return round(total)


def _is_tied(model: Any) -> bool:
    return model.lm_head.weight is model.get_input_embeddings().weight


def float_bytes(model: nn.Module) -> int:
    """Bytes of all parameters, shared ones once."""
    return sum(parameter.nbytes for parameter in model.parameters())
