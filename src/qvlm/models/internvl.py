"""InternVL: InternViT, pixel shuffle and a two-layer projector, Qwen2 or Llama."""

from __future__ import annotations

from qvlm.models.adapter import HEAD, Declaration, module, stack
from qvlm.models.llava import VISION, above_feature_layer

ADAPTER = Declaration(
    parts=(
        stack("vision", VISION),
        module("projector", "model.multi_modal_projector"),
        stack("language", "model.language_model"),
        HEAD,
    ),
    unused=above_feature_layer,
)
