"""Mllama (Llama 3.2 Vision): two vision stacks, a projection, self- and cross-attention."""

from __future__ import annotations

from qvlm.models.adapter import HEAD, Declaration, module, stack

VISION = "model.vision_model"

ADAPTER = Declaration(
    parts=(
        stack("vision", f"{VISION}.transformer"),
        stack("vision_global", f"{VISION}.global_transformer"),
        module("projector", "model.multi_modal_projector"),
        stack("language", "model.language_model"),
        HEAD,
    )
)
