"""Architectures of qvlm's own, made known to Transformers' Auto classes."""

from __future__ import annotations

OWN = ("moe_llava", "open_flamingo")
"""Their `model_type`; no other program loads these."""


def register_architectures() -> None:
    """Lets `AutoConfig` and its kin find the models that `qvlm convert` writes."""
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor, LlavaProcessor

    from qvlm.models.moe_llava import MoeLlavaConfig, MoeLlavaForConditionalGeneration
    from qvlm.models.open_flamingo.config import OpenFlamingoConfig
    from qvlm.models.open_flamingo.model import OpenFlamingoForConditionalGeneration
    from qvlm.models.open_flamingo.processor import OpenFlamingoProcessor

    for config, model, processor in (
        (MoeLlavaConfig, MoeLlavaForConditionalGeneration, LlavaProcessor),
        (OpenFlamingoConfig, OpenFlamingoForConditionalGeneration, OpenFlamingoProcessor),
    ):
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModelForImageTextToText.register(config, model, exist_ok=True)
        AutoProcessor.register(config, processor, exist_ok=True)
