"""Puts smol-llava together: the language model with its changes merged, our tower and projector."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import (
    GenerationConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)

from qvlm.errors import ModelError, OutputError
from qvlm.reference import cache_directory
from qvlm.reference.directory import new_directory
from qvlm.reference.smol import NAME
from qvlm.reference.smol.architecture import (
    IMAGE_TOKENS,
    PATCH_SIZE,
    image_processor,
    vision_config,
)
from qvlm.reference.smol.conversation import CHAT_TEMPLATE, IMAGE_TOKEN
from qvlm.reference.smol.language_model import LanguageModel, obtain
from qvlm.reference.smol.lora import merge
from qvlm.reference.smol.tokenizer import with_image_token

WEIGHTS = Path(__file__).resolve().parent.parent / "smol_llava" / "weights.safetensors"
"""Tower, projector and low-rank changes, float16; the language model is not among them."""
RECORD = "build.json"
"""Beside the built model: what it was built from."""


def default_directory() -> Path:
    """Returns where the built model lies, for `qvlm.models.load` to find."""
    return cache_directory() / NAME


def empty_model(language: LanguageModel, tokenizer: PreTrainedTokenizerFast) -> (
    LlavaForConditionalGeneration
):  # fmt: skip
    """Returns a LLaVA with the language model inside, tower and projector at random."""
    text = language.model.config
    text.bos_token_id, text.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    text.pad_token_id = tokenizer.pad_token_id
    config = LlavaConfig(
        vision_config=vision_config(),
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids(IMAGE_TOKEN),
        vision_feature_layer=-1,
        vision_feature_select_strategy="default",
        image_seq_length=IMAGE_TOKENS,
        tie_word_embeddings=text.tie_word_embeddings,
    )
    model = LlavaForConditionalGeneration(config)
    model.model.language_model.load_state_dict(language.model.model.state_dict())
    model.lm_head.load_state_dict(language.model.lm_head.state_dict())
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        max_new_tokens=16,
        do_sample=False,
    )
    return model.eval()


def build_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Returns the processor: 64x64 pictures, 16 `<image>` tokens each, SmolLM2's chat format."""
    return LlavaProcessor(
        image_processor=image_processor(),
        tokenizer=tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT_TEMPLATE,
    )


@torch.no_grad()
def assemble(
    language: LanguageModel, weights: Mapping[str, torch.Tensor]
) -> tuple[LlavaForConditionalGeneration, LlavaProcessor]:
    """Returns the whole model, float32, with its processor.

    Args:
        language: SmolLM2 with its own tokenizer.
        weights: `tower.*`, `projector.*` and `lora.*` (see `lora.merge`).

    Raises:
        ModelError: the weights do not fit the language model.
    """
    tokenizer = with_image_token(language.tokenizer)
    model = empty_model(language, tokenizer)
    parts: dict[str, dict[str, torch.Tensor]] = {"tower": {}, "projector": {}, "lora": {}}
    for name, tensor in weights.items():
        part, _, rest = name.partition(".")
        parts[part][rest] = tensor.float()
    try:
        model.model.vision_tower.load_state_dict(parts["tower"])
        model.model.multi_modal_projector.load_state_dict(parts["projector"])
        merge(model.model.language_model, parts["lora"])
    except (RuntimeError, AttributeError) as error:
        raise ModelError(
            f"{NAME}'s weights do not fit this language model: give SmolLM2-135M-Instruct"
        ) from error
    return model, build_processor(tokenizer)


def build(
    output: Path | None = None, lm: Path | None = None, weights: Path = WEIGHTS
) -> tuple[Path, str]:
    """Builds smol-llava; returns the new directory and where the language model came from.

    The directory appears complete or not at all.

    Args:
        output: where to; None = `default_directory()`.
        lm: the language model (see `obtain`).
        weights: the parts to put together with it.

    Raises:
        OutputError: the directory exists already or cannot be written.
        ModelError: the language model cannot be had, or the weights do not fit it.
    """
    directory = default_directory() if output is None else output
    if directory.exists():
        raise OutputError(f"'{directory}' exists already: remove it, or choose a new directory")
    language = obtain(lm)
    model, processor = assemble(language, load_file(weights))
    record = {
        "model": NAME,
        "language_model": language.source,
        "weights_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    save(directory, model, processor, record)
    return directory, language.source


def save(
    directory: Path,
    model: LlavaForConditionalGeneration,
    processor: LlavaProcessor,
    record: Mapping[str, str],
) -> None:
    """Writes model, processor and record to a new directory, at once.

    Raises:
        OutputError: it exists already or cannot be written.
    """
    with new_directory(directory) as staging:
        try:
            model.save_pretrained(staging)
            processor.save_pretrained(staging)
        except SafetensorError as error:  # how the library reports a full disk
            raise OutputError(f"{directory}: cannot be written ({error})") from error
        text = json.dumps(record, indent=1) + "\n"
        (staging / RECORD).write_text(text, encoding="utf-8")
