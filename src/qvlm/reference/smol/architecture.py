"""Sizes of smol-llava's own parts, and its picture processing."""

from __future__ import annotations

from transformers import CLIPVisionConfig
from transformers.models.clip import CLIPImageProcessorPil

IMAGE_SIZE = 64
PATCH_SIZE = 16
IMAGE_TOKENS = (IMAGE_SIZE // PATCH_SIZE) ** 2


def vision_config() -> CLIPVisionConfig:
    """Returns the tower's configuration; every width is a multiple of 128."""
    return CLIPVisionConfig(
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=IMAGE_SIZE,
        patch_size=PATCH_SIZE,
        projection_dim=256,
    )


def image_processor() -> CLIPImageProcessorPil:
    """Returns the processor of pictures: 64x64, normalised as CLIP does."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
    )
