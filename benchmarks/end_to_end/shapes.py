"""LLaVAs of known shapes with random weights: speed and memory need no training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    MixtralConfig,
)

from qvlm.models.load import read_processor
from qvlm.reference import pico_llava_path


@dataclass(frozen=True)
class Shape:
    """Widths and depths; the tower is CLIP's.

    Attributes:
        hidden, intermediate, layers, heads: of the language model.
        vision_hidden, vision_layers, vision_heads: of the vision tower.
        image_size: pixels a side; patches are 14 x 14, so 336 gives 576 image tokens.
        experts: of every layer of the language model, then Mixtral's; two for each token.
    """

    hidden: int
    intermediate: int
    layers: int
    heads: int
    vision_hidden: int
    vision_layers: int
    vision_heads: int
    image_size: int
    experts: int = 0


SHAPES = {
    # Qwen2-0.5B's widths under CLIP-B's, 256 image tokens.
    "llava-0.5b": Shape(896, 4864, 24, 14, 768, 12, 12, 224),
    # TinyLlama-1.1B's widths under CLIP-L's: LLaVA-1.5's own tower and 576 image tokens.
    "llava-1.3b": Shape(2048, 5632, 22, 32, 1024, 24, 16, 336),
}


def write_model(name: str, directory: Path) -> Path:
    """Saves a model of random weights with pico-llava's tokenizer; returns the directory."""
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config_of(SHAPES[name])).eval()
    model.save_pretrained(directory)
    processor_of(SHAPES[name]).save_pretrained(directory)
    return directory


def config_of(shape: Shape) -> LlavaConfig:
    """The config of a LLaVA of that shape."""
    return LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=shape.vision_hidden,
            intermediate_size=4 * shape.vision_hidden,
            num_hidden_layers=shape.vision_layers,
            num_attention_heads=shape.vision_heads,
            image_size=shape.image_size,
            patch_size=14,
        ),
        text_config=_language(shape),
        image_token_index=processor_of(shape).image_token_id,
        image_seq_length=(shape.image_size // 14) ** 2,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )


def _language(shape: Shape) -> LlamaConfig | MixtralConfig:
    widths = {
        "vocab_size": 32064,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "max_position_embeddings": 4096,
    }
    if shape.experts:
        return MixtralConfig(**widths, num_local_experts=shape.experts, num_experts_per_tok=2)
    return LlamaConfig(**widths)


def processor_of(shape: Shape) -> LlavaProcessor:
    """Its processor, with pico-llava's tokenizer."""
    small = read_processor(pico_llava_path())
    size = shape.image_size
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(
            size={"shortest_edge": size}, crop_size={"height": size, "width": size}
        ),
        tokenizer=small.tokenizer,
        patch_size=14,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=small.chat_template,
    )
