"""MoE-LLaVA: LLaVA whose language model has a mixture of experts in some of its layers.

The language model is a dense one of Transformers (StableLM, Phi, Qwen2, Llama, Mistral); every
expert is a copy of its feed-forward part. `qvlm convert` writes such models.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from transformers import LlavaConfig, LlavaForConditionalGeneration

from qvlm.models.mixture import TopKMixture


class MoeLlavaConfig(LlavaConfig):  # type: ignore[misc]  # Transformers is untyped here
    """LLaVA's fields and where the experts are.

    Attributes:
        moe_layers: indices of the layers with experts.
        experts: how many each of them has.
        experts_per_token: how many a token is sent to.
    """

    model_type = "moe_llava"

    moe_layers: list[int] | tuple[int, ...] = ()
    experts: list[int] | tuple[int, ...] = ()
    experts_per_token: int = 2


class MoeLlavaForConditionalGeneration(LlavaForConditionalGeneration):  # type: ignore[misc]
    """LLaVA with experts; all else is Transformers' own."""

    config: MoeLlavaConfig
    config_class = MoeLlavaConfig
    _keep_in_fp32_modules_strict = ("mlp.gate.weight",)

    def __init__(self, config: MoeLlavaConfig) -> None:
        super().__init__(config)
        layers: Any = self.model.language_model.layers
        channels, chosen = config.text_config.hidden_size, config.experts_per_token
        for index, count in zip(config.moe_layers, config.experts, strict=True):
            dense = layers[index].mlp
            experts = (deepcopy(dense) for _ in range(count))
            layers[index].mlp = TopKMixture(channels, experts, chosen)
        self.post_init()
