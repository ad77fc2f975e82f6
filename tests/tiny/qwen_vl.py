"""Qwen2-VL, Qwen2.5-VL, Qwen3-VL and Qwen3-VL-MoE of some thousand random weights."""

from __future__ import annotations

from typing import Any

import transformers as hf

from qvlm.models.processor import images_only
from tiny.building import Built, byte_tokenizer, chat_template, seeded, text_sizes


def _qwen_processor(kind: Any, patch_size: int) -> Any:
    tokenizer = byte_tokenizer(
        "<|image_pad|>", video_token="<|video_pad|>",
        vision_start_token="<|vision_start|>", vision_end_token="<|vision_end|>",
    )  # fmt: skip
    images = hf.Qwen2VLImageProcessorPil(
        min_pixels=32 * 32, max_pixels=48 * 48, patch_size=patch_size, merge_size=2
    )
    template = chat_template("<|vision_start|><|image_pad|><|vision_end|>")
    return images_only(kind)(images, tokenizer, chat_template=template)


def _qwen_ids(processor: Any) -> dict[str, int]:
    ids = processor.tokenizer.convert_tokens_to_ids
    return {
        "image_token_id": processor.image_token_id,
        "video_token_id": processor.video_token_id,
        "vision_start_token_id": ids("<|vision_start|>"),
        "vision_end_token_id": ids("<|vision_end|>"),
    }


MROPE = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}


def qwen2_vl() -> Built:
    processor = _qwen_processor(hf.Qwen2VLProcessor, 8)
    config = hf.Qwen2VLConfig(
        vision_config={
            "depth": 2, "embed_dim": 64, "hidden_size": 64, "num_heads": 4, "patch_size": 8,
            "mlp_ratio": 1,
        },
        text_config=text_sizes(rope_parameters=MROPE),
        **_qwen_ids(processor),
    )  # fmt: skip
    return seeded(hf.Qwen2VLForConditionalGeneration, config), processor


def qwen2_5_vl() -> Built:
    processor = _qwen_processor(hf.Qwen2_5_VLProcessor, 8)
    config = hf.Qwen2_5_VLConfig(
        vision_config={
            "depth": 2, "hidden_size": 64, "intermediate_size": 64, "num_heads": 4,
            "patch_size": 8, "window_size": 32, "out_hidden_size": 64,
            "fullatt_block_indexes": [1],
        },
        text_config=text_sizes(rope_parameters=MROPE),
        **_qwen_ids(processor),
    )  # fmt: skip
    return seeded(hf.Qwen2_5_VLForConditionalGeneration, config), processor


QWEN3_VISION = {
    "depth": 3, "hidden_size": 64, "intermediate_size": 64, "num_heads": 4, "patch_size": 8,
    "out_hidden_size": 64, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1],
}  # fmt: skip


def qwen3_vl() -> Built:
    processor = _qwen_processor(hf.Qwen3VLProcessor, 8)
    config = hf.Qwen3VLConfig(
        vision_config=QWEN3_VISION,
        text_config=text_sizes(num_hidden_layers=3, head_dim=16, rope_parameters=MROPE),
        **_qwen_ids(processor),
    )
    return seeded(hf.Qwen3VLForConditionalGeneration, config), processor


EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}


def qwen3_vl_moe() -> Built:
    processor = _qwen_processor(hf.Qwen3VLProcessor, 8)
    config = hf.Qwen3VLMoeConfig(
        vision_config=QWEN3_VISION,
        text_config=text_sizes(num_hidden_layers=3, head_dim=16, rope_parameters=MROPE, **EXPERTS),
        **_qwen_ids(processor),
    )
    return seeded(hf.Qwen3VLMoeForConditionalGeneration, config), processor
