"""A LLaVA of some thousand random weights with a byte-level tokenizer, made without a download."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)
from transformers.utils import logging

from tiny.building import byte_tokenizer, chat_template


def tiny_llava(
    hidden: int = 64,
    layers: int = 3,
    dtype: torch.dtype = torch.float32,
    *,
    seed: int = 0,
    image_size: int = 32,
    patch_size: int = 8,
    vision_hidden: int = 64,
    vision_layers: int = 3,
    heads: int = 4,
    value_heads: int | None = None,
    tied: bool = False,
) -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
    """Returns a model in evaluation mode and its processor; the same for the same seed."""
    processor = tiny_processor(image_size, patch_size)
    config = LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=vision_hidden,
            intermediate_size=2 * vision_hidden,
            num_hidden_layers=vision_layers,
            num_attention_heads=heads,
            image_size=image_size,
            patch_size=patch_size,
            projection_dim=vision_hidden,
        ),
        text_config=LlamaConfig(
            vocab_size=288,
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=value_heads or heads,
            max_position_embeddings=2048,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            initializer_range=0.2,
        ),
        image_token_index=processor.image_token_id,
        image_seq_length=(image_size // patch_size) ** 2,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
        tie_word_embeddings=tied,
    )
    state = torch.get_rng_state()
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(config).to(dtype).eval()
    torch.set_rng_state(state)
    return model, processor


def save_llava(
    directory: Path, model: LlavaForConditionalGeneration, processor: LlavaProcessor
) -> Path:
    """Saves a model and its processor as the hub lays them out; returns the directory."""
    logging.disable_progress_bar()
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory


def tiny_processor(image_size: int = 32, patch_size: int = 8) -> LlavaProcessor:
    """Returns a processor: one token per byte, images resized and cropped by Pillow."""
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": image_size},
            crop_size={"height": image_size, "width": image_size},
        ),
        tokenizer=byte_tokenizer(),
        patch_size=patch_size,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=chat_template(),
    )
