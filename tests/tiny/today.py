"""SmolVLM, Idefics3, InternVL, PaliGemma, Gemma3 and Aya Vision of some thousand random weights."""

from __future__ import annotations

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


def idefics3(*, smol: bool) -> Built:
    kind = "SmolVLM" if smol else "Idefics3"
    named = {
        "fake_image_token": "<fake_token_around_image>",
        "global_image_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    }
    images = getattr(hf, f"{kind}ImageProcessorPil")(
        size={"longest_edge": 32}, max_image_size={"longest_edge": 32}, do_image_splitting=False
    )
    videos = {"video_processor": None} if smol else {}
    processor = images_only(getattr(hf, f"{kind}Processor"))(
        images,
        byte_tokenizer(**named),
        image_seq_len=4,
        chat_template=chat_template("<image>"),
        **videos,
    )
    config = getattr(hf, f"{kind}Config")(
        vision_config=vision_sizes(),
        text_config={"model_type": "llama", **text_sizes()},
        image_token_id=processor.image_token_id,
        scale_factor=2,
        pad_token_id=0,
        tie_word_embeddings=False,
    )
    return seeded(getattr(hf, f"{kind}ForConditionalGeneration"), config), processor


def internvl() -> Built:
    tokenizer = byte_tokenizer(
        start_image_token="<img>", end_image_token="</img>",
        context_image_token="<IMG_CONTEXT>", video_token="<video>",
    )  # fmt: skip
    processor = images_only(hf.InternVLProcessor)(
        hf.GotOcr2ImageProcessorPil(size=EDGES, crop_to_patches=True, max_patches=2),
        tokenizer,
        image_seq_length=4,
        chat_template=chat_template("<IMG_CONTEXT>\n"),
    )
    config = hf.InternVLConfig(
        vision_config=vision_sizes(image_size=[32, 32], patch_size=[8, 8]),
        text_config=hf.Qwen2Config(**text_sizes()),
        image_token_id=processor.image_token_id,
        image_seq_length=4,
        tie_word_embeddings=False,
    )
    return seeded(hf.InternVLForConditionalGeneration, config), processor


def paligemma() -> Built:
    images = hf.SiglipImageProcessorPil(size=EDGES)
    images.image_seq_length = 16
    processor = hf.PaliGemmaProcessor(images, byte_tokenizer(), chat_template=chat_template())
    config = hf.PaliGemmaConfig(
        vision_config=hf.SiglipVisionConfig(**vision_sizes(vision_use_head=False)),
        text_config=hf.GemmaConfig(**text_sizes(head_dim=16)),
        image_token_index=processor.image_token_id,
        projection_dim=64,
        hidden_size=64,
    )
    return seeded(hf.PaliGemmaForConditionalGeneration, config), processor


def gemma3() -> Built:
    tokenizer = byte_tokenizer(
        "<image_soft_token>", boi_token="<start_of_image>", eoi_token="<end_of_image>"
    )
    processor = hf.Gemma3Processor(
        hf.Gemma3ImageProcessorPil(size=EDGES),
        tokenizer,
        image_seq_length=4,
        chat_template=chat_template("<start_of_image>"),
    )
    ids = tokenizer.convert_tokens_to_ids
    config = hf.Gemma3Config(
        vision_config=hf.SiglipVisionConfig(**vision_sizes(vision_use_head=False)),
        text_config=hf.Gemma3TextConfig(
            **text_sizes(
                head_dim=16, sliding_window=32, query_pre_attn_scalar=16,
                layer_types=["sliding_attention", "full_attention"],
            )
        ),
        mm_tokens_per_image=4,
        boi_token_index=ids("<start_of_image>"),
        eoi_token_index=ids("<end_of_image>"),
        image_token_index=ids("<image_soft_token>"),
    )  # fmt: skip
    return seeded(hf.Gemma3ForConditionalGeneration, config), processor


def aya_vision() -> Built:
    tokenizer = byte_tokenizer(
        "<|IMG_PATCH|>", start="<|START_OF_IMG|>", end="<|END_OF_IMG|>",
        line_break="<|IMG_LINE_BREAK|>", placeholder="<image>",
    )  # fmt: skip
    processor = hf.AyaVisionProcessor(
        hf.GotOcr2ImageProcessorPil(size=EDGES, crop_to_patches=True, max_patches=2),
        tokenizer,
        patch_size=8,
        img_size=32,
        downsample_factor=2,
        chat_template=chat_template("<image>"),
    )
    config = hf.AyaVisionConfig(
        vision_config=hf.SiglipVisionConfig(**vision_sizes(vision_use_head=False)),
        text_config=hf.Cohere2Config(**text_sizes(sliding_window=32, logit_scale=0.5)),
        image_token_index=processor.image_token_id,
        tie_word_embeddings=False,
    )
    return seeded(hf.AyaVisionForConditionalGeneration, config), processor
