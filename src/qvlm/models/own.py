"""Architectures of qvlm's own, made known to Transformers' Auto classes."""

from __future__ import annotations


def register_architectures() -> None:
    """Lets `AutoConfig` and its kin find the models that `qvlm convert` writes."""
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, LlavaProcessor

    from qvlm.models.moe_llava import MoeLlavaConfig, MoeLlavaForConditionalGeneration

    AutoConfig.register(MoeLlavaConfig.model_type, MoeLlavaConfig, exist_ok=True)
    AutoModelForImageTextToText.register(
        MoeLlavaConfig, MoeLlavaForConditionalGeneration, exist_ok=True
    )
    AutoProcessor.register(MoeLlavaConfig, LlavaProcessor, exist_ok=True)
