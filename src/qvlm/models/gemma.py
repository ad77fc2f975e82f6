"""PaliGemma and Gemma3: a SigLIP tower, one projection, Gemma.

Gemma3 projects with a bare matrix, not with a linear layer, so it has no projector tower.
"""

from __future__ import annotations

from qvlm.models.adapter import HEAD, Declaration, module, stack

ADAPTER = Declaration(
    parts=(
        stack("vision", "model.vision_tower"),
        module("projector", "model.multi_modal_projector"),
        stack("language", "model.language_model"),
        HEAD,
    )
)
