"""Idefics3 and SmolVLM: a SigLIP-like tower, pixel shuffle and one linear, a Llama."""

from __future__ import annotations

from qvlm.models.adapter import HEAD, Declaration, module, stack

ADAPTER = Declaration(
    parts=(
        stack("vision", "model.vision_model"),
        module("projector", "model.connector"),
        stack("language", "model.text_model"),
        HEAD,
    )
)
