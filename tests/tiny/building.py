"""What tiny models of all architectures share: tokenizer, template, sizes; without a download."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from torch import nn
from transformers import PreTrainedTokenizerFast

Built = tuple[Any, Any]
"""A model and its processor."""

VOCABULARY = 288
SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
EDGES = {"height": 32, "width": 32}


def byte_tokenizer(image: str = "<image>", **named: str) -> PreTrainedTokenizerFast:
    """One token per byte after the special ones; `named` are further special tokens."""
    symbols = (*SPECIAL, image, *named.values(), *sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate(symbols)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
    )
    pad, begin, end, unknown = SPECIAL
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        bos_token=begin,
        eos_token=end,
        unk_token=unknown,
        extra_special_tokens={"image_token": image, **named},
    )


def chat_template(image: str = "<image>\n") -> str:
    """A template in LLaVA's form with another way of writing an image."""
    return (
        "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
        "{% for part in message['content'] if part['type'] == 'image' %}{{ '"
        + image.replace("\n", "\\n")
        + "' }}{% endfor %}"
        "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] + ' ' }}"
        "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
    )


def text_sizes(hidden: int = 64, **others: Any) -> dict[str, Any]:
    """What all tiny language models have in common."""
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": hidden,
        "intermediate_size": hidden,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "max_position_embeddings": 2048,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "initializer_range": 0.2,
        "tie_word_embeddings": False,
        **others,
    }


def vision_sizes(**others: Any) -> dict[str, Any]:
    """What most tiny vision towers have in common."""
    return {
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
        **others,
    }


def seeded(kind: Any, config: Any) -> Any:
    """A model of random weights, the same every time, without gates that are shut."""
    state = torch.get_rng_state()
    torch.manual_seed(0)
    model = kind(config).eval()
    for name, parameter in model.named_parameters():
        if "gate" in name and parameter.numel() == 1:
            nn.init.constant_(parameter, 0.5)
    torch.set_rng_state(state)
    return model
