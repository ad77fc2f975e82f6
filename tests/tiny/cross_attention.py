"""Mllama and Idefics of some thousand random weights, their gates open."""

from __future__ import annotations

import transformers as hf

from qvlm.models.open_flamingo.config import OpenFlamingoConfig
from qvlm.models.open_flamingo.model import OpenFlamingoForConditionalGeneration
from qvlm.models.open_flamingo.processor import OpenFlamingoProcessor
from tiny.building import (
    EDGES,
    VOCABULARY,
    Built,
    byte_tokenizer,
    chat_template,
    seeded,
    text_sizes,
    vision_sizes,
)


def mllama() -> Built:
    processor = hf.MllamaProcessor(
        hf.MllamaImageProcessorPil(size=EDGES, max_image_tiles=2),
        byte_tokenizer("<|image|>", python_token="<|python_tag|>"),
        chat_template=chat_template("<|image|>"),
    )
    config = hf.MllamaConfig(
        vision_config={
            "hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2,
            "num_global_layers": 1, "attention_heads": 4, "image_size": 32, "patch_size": 8,
            "max_num_tiles": 2, "intermediate_layers_indices": [0], "vision_output_dim": 128,
            "supported_aspect_ratios": [[1, 1], [1, 2], [2, 1]], "initializer_range": 0.2,
        },
        text_config=text_sizes(
            num_hidden_layers=3, cross_attention_layers=[1],
            rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        ),
        image_token_index=processor.image_token_id,
    )  # fmt: skip
    return seeded(hf.MllamaForConditionalGeneration, config), processor


def idefics() -> Built:
    tokenizer = byte_tokenizer(fake_image_token="<fake_token_around_image>")
    processor = hf.IdeficsProcessor(
        hf.IdeficsImageProcessorPil(image_size=32), tokenizer, image_size=32
    )
    config = hf.IdeficsConfig(
        **text_sizes(),
        vision_config={
            "embed_dim": 64, "image_size": 32, "intermediate_size": 64, "patch_size": 8,
            "num_hidden_layers": 2, "num_attention_heads": 4,
        },
        perceiver_config={
            "use_resampler": True, "resampler_n_latents": 4, "resampler_depth": 2,
            "resampler_n_heads": 4, "resampler_head_dim": 16,
        },
        use_resampler=True, cross_layer_interval=2, alpha_initializer="ones",
    )  # fmt: skip
    return seeded(hf.IdeficsForVisionText2Text, config), processor


def open_flamingo() -> Built:
    processor = OpenFlamingoProcessor(
        hf.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=EDGES),
        byte_tokenizer(end_of_chunk="<|endofchunk|>"),
    )
    config = OpenFlamingoConfig(
        vision_config=vision_sizes(projection_dim=64),
        text_config={
            "d_model": 64, "n_heads": 4, "n_layers": 3, "vocab_size": VOCABULARY,
            "max_seq_len": 2048, "initializer_range": 0.2, "attn_config": {"qk_ln": True},
        },
        image_token_index=processor.image_token_id, cross_layer_interval=2,
        resampler_depth=2, resampler_latents=4, cross_heads=4, cross_head_dim=16,
    )  # fmt: skip
    return seeded(OpenFlamingoForConditionalGeneration, config), processor
