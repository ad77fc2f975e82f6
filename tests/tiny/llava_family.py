"""LLaVA with every tower and language model, LlavaNext and LlavaOnevision."""

from __future__ import annotations

from typing import Any

import transformers as hf

from qvlm.models.processor import images_only
from tiny.building import (
    EDGES,
    Built,
    byte_tokenizer,
    chat_template,
    seeded,
    text_sizes,
    vision_sizes,
)
from tiny.llava import tiny_processor


def llava(vision: str, text: Any) -> Built:
    """LLaVA with a CLIP or SigLIP tower and any language model."""
    processor = tiny_processor()
    if vision == "clip":
        vision_config = hf.CLIPVisionConfig(**vision_sizes(projection_dim=64))
    else:
        vision_config = hf.SiglipVisionConfig(**vision_sizes(vision_use_head=False))
        processor.num_additional_image_tokens = 0
        processor.vision_feature_select_strategy = "full"
    config = hf.LlavaConfig(
        vision_config=vision_config,
        text_config=text,
        image_token_index=processor.image_token_id,
        image_seq_length=16,
        vision_feature_layer=-2 if vision == "clip" else -1,
        vision_feature_select_strategy="default" if vision == "clip" else "full",
        tie_word_embeddings=False,
    )
    return seeded(hf.LlavaForConditionalGeneration, config), processor


def llava_next() -> Built:
    processor = hf.LlavaNextProcessor(
        hf.LlavaNextImageProcessorPil(
            size={"shortest_edge": 32}, crop_size=EDGES, image_grid_pinpoints=[[32, 64], [64, 32]]
        ),
        byte_tokenizer(),
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template(),
    )
    config = hf.LlavaNextConfig(
        vision_config=hf.CLIPVisionConfig(**vision_sizes(projection_dim=64)),
        text_config=hf.MistralConfig(**text_sizes()),
        image_token_index=processor.image_token_id,
        image_grid_pinpoints=[[32, 64], [64, 32]],
        tie_word_embeddings=False,
    )
    return seeded(hf.LlavaNextForConditionalGeneration, config), processor


def llava_onevision() -> Built:
    processor = images_only(hf.LlavaOnevisionProcessor)(
        hf.LlavaOnevisionImageProcessorPil(size=EDGES, image_grid_pinpoints=[[32, 64], [64, 32]]),
        byte_tokenizer(video_token="<video>"),
        num_image_tokens=16,
        vision_feature_select_strategy="full",
        chat_template=chat_template(),
    )
    config = hf.LlavaOnevisionConfig(
        vision_config=hf.SiglipVisionConfig(**vision_sizes(vision_use_head=False)),
        text_config=hf.Qwen2Config(**text_sizes()),
        image_token_index=processor.image_token_id,
        video_token_index=processor.video_token_id,
        image_grid_pinpoints=[[32, 64], [64, 32]],
        tie_word_embeddings=False,
    )
    return seeded(hf.LlavaOnevisionForConditionalGeneration, config), processor
