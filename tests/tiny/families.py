"""Every supported architecture, and the language models that LLaVA is tested with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import transformers as hf

from qvlm.data import Sample
from qvlm.models.experts import split_experts
from qvlm.schemes import LayerScheme, Recipe
from tiny.building import Built, text_sizes
from tiny.cross_attention import idefics, mllama, open_flamingo
from tiny.llava import tiny_llava
from tiny.llava_family import llava, llava_next, llava_onevision
from tiny.mixtures import moe_llava
from tiny.qwen_vl import EXPERTS, qwen2_5_vl, qwen2_vl, qwen3_vl, qwen3_vl_moe
from tiny.today import aya_vision, gemma3, idefics3, internvl, paligemma

FAMILIES: dict[str, Callable[[], Built]] = {
    "llava-clip-llama": tiny_llava,
    "llava-siglip-llama": lambda: llava("siglip", hf.LlamaConfig(**text_sizes())),
    "llava-clip-mistral": lambda: llava("clip", hf.MistralConfig(**text_sizes())),
    "llava-siglip-qwen2": lambda: llava("siglip", hf.Qwen2Config(**text_sizes())),
    "llava-clip-phi": lambda: llava("clip", hf.PhiConfig(**text_sizes())),
    "llava-clip-phi3": lambda: llava("clip", hf.Phi3Config(**text_sizes())),
    "llava_next": llava_next,
    "llava_onevision": llava_onevision,
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "qwen3_vl": qwen3_vl,
    "smolvlm": lambda: idefics3(smol=True),
    "idefics3": lambda: idefics3(smol=False),
    "internvl": internvl,
    "paligemma": paligemma,
    "gemma3": gemma3,
    "aya_vision": aya_vision,
    "mllama": mllama,
    "idefics": idefics,
    "open_flamingo": open_flamingo,
    "llava-mixtral": lambda: llava(
        "clip", hf.MixtralConfig(**text_sizes(num_local_experts=4, num_experts_per_tok=2))
    ),
    "llava-qwen2_moe": lambda: llava(
        "clip", hf.Qwen2MoeConfig(**text_sizes(**EXPERTS, shared_expert_intermediate_size=32))
    ),
    "llava-qwen3_moe": lambda: llava(
        "clip", hf.Qwen3MoeConfig(**text_sizes(**EXPERTS, head_dim=16))
    ),
    "llava-olmoe": lambda: llava("clip", hf.OlmoeConfig(**text_sizes(**EXPERTS))),
    "qwen3_vl_moe": qwen3_vl_moe,
    "moe_llava-stablelm": lambda: moe_llava(hf.StableLmConfig(**text_sizes()), (0,)),
    "moe_llava-phi": lambda: moe_llava(hf.PhiConfig(**text_sizes()), (0, 1), chosen=1),
}
"""Name of a variant -> its builder."""
IMAGES_ONLY = ("paligemma",)
"""Variants whose processor refuses a prompt without an image."""
BARE_PROJECTION = ("gemma3",)
"""Variants whose projector is a matrix, not a linear layer."""
OWN_HEAD = ("idefics", "paligemma", "gemma3", "open_flamingo")
"""Variants whose output layer is tied, or not a plain linear."""


@dataclass(frozen=True)
class Family:
    """A variant as `load_model` gives it: fused experts are linears."""

    name: str
    model: Any
    processor: Any

    @property
    def recipe(self) -> Recipe:
        """With as much quantized as the variant allows."""
        return Recipe(lm_head=None if self.name in OWN_HEAD else LayerScheme())

    @property
    def without(self) -> tuple[str, ...]:
        """Kinds of towers that it does not have."""
        return ("projector",) if self.name in BARE_PROJECTION else ()

    def usable(self, samples: Sequence[Sample]) -> list[Sample]:
        """The samples that its processor takes."""
        return [s for s in samples if s.image is not None or self.name not in IMAGES_ONLY]


@cache
def built_family(name: str) -> Family:
    """Builds a variant once; not to be changed."""
    model, processor = FAMILIES[name]()
    split_experts(model)
    return Family(name, model, processor)
