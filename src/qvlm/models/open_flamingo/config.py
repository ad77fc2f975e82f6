"""The config of an OpenFlamingo."""

from __future__ import annotations

from typing import Any

from transformers import CLIPVisionConfig, MptConfig, PreTrainedConfig


class OpenFlamingoConfig(PreTrainedConfig):  # type: ignore[misc]  # Transformers is untyped here
    """Vision tower, language model and what lies between them.

    Attributes:
        vision_config: of the CLIP vision tower.
        text_config: of the MPT.
        image_token_index: the token that stands for an image.
        cross_layer_interval: a gated layer runs before every so many layers of the language model.
        resampler_depth, resampler_latents: layers of the resampler, and what it makes of an image.
        cross_heads, cross_head_dim: of the resampler's and the gated layers' attention.
    """

    model_type = "open_flamingo"
    sub_configs = {"vision_config": CLIPVisionConfig, "text_config": MptConfig}  # noqa: RUF012
    attribute_map = {"image_token_id": "image_token_index"}  # noqa: RUF012

    vision_config: dict[str, Any] | PreTrainedConfig | None = None
    text_config: dict[str, Any] | PreTrainedConfig | None = None
    image_token_index: int = 0
    cross_layer_interval: int = 1
    resampler_depth: int = 6
    resampler_latents: int = 64
    cross_heads: int = 8
    cross_head_dim: int = 64
    tie_word_embeddings: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        """Builds the parts' configs from dictionaries."""
        for name, kind in self.sub_configs.items():
            value = getattr(self, name) or {}
            setattr(self, name, kind(**value) if isinstance(value, dict) else value)
        super().__post_init__(**kwargs)
