"""LLaVA and its kin: a vision tower, a two-layer projector, a language model.

Llava (v1.3, v1.5), LlavaNext, LlavaOnevision, InternVL and Aya Vision differ in how an image
becomes patches, not in where their layers are; towers and language models are whatever `kinds`
knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from qvlm.models.adapter import HEAD, Declaration, module, stack
from qvlm.models.stacks import stack_under

VISION = "model.vision_tower"


def above_feature_layer(model: nn.Module) -> Mapping[str, str]:
    """Vision layers above the highest `vision_feature_layer`: LLaVA-1.5 reads layer -2."""
    layers = stack_under(model, VISION)
    config: Any = model.config
    selected = config.vision_feature_layer
    states = [selected] if isinstance(selected, int) else list(selected)
    # hidden_states holds the embedding and one entry per layer.
    last = max(state if state >= 0 else len(layers) + 1 + state for state in states)
    return dict.fromkeys(layers[last:], f"above vision_feature_layer {selected}")


ADAPTER = Declaration(
    parts=(
        stack("vision", VISION),
        module("projector", "model.multi_modal_projector"),
        stack("language", "model.language_model"),
        HEAD,
    ),
    unused=above_feature_layer,
)
