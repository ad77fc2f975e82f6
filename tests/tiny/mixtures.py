"""MoE-LLaVA: dense language models with experts in some of their layers."""

from __future__ import annotations

from typing import Any

import transformers as hf

from qvlm.models.moe_llava import MoeLlavaConfig, MoeLlavaForConditionalGeneration
from tiny.building import Built, seeded, vision_sizes
from tiny.llava import tiny_processor


def moe_llava(text: Any, layers: tuple[int, ...], chosen: int = 2) -> Built:
    """Experts in some layers, CLIP as vision tower."""
    processor = tiny_processor()
    config = MoeLlavaConfig(
        vision_config=hf.CLIPVisionConfig(**vision_sizes(projection_dim=64)),
        text_config=text,
        image_token_index=processor.image_token_id,
        image_seq_length=16,
        tie_word_embeddings=False,
        moe_layers=list(layers),
        experts=[4] * len(layers),
        experts_per_token=chosen,
    )
    return seeded(MoeLlavaForConditionalGeneration, config), processor
