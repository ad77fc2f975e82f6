"""How tokens are chosen, whatever a model's own generation_config says."""

from __future__ import annotations

from typing import Any


def decoding(
    model: Any, processor: Any, max_new_tokens: int, temperature: float = 0.0, top_p: float = 1.0
) -> Any:
    """Returns a generation config: plain argmax, or plain sampling where `temperature` is above 0.

    Every setting that the model's own config could bring in is set.

    Args:
        model: a Hugging Face model; its end tokens are kept.
        processor: of the model.
        max_new_tokens: longest answer.
        temperature: by which logits are divided before sampling.
        top_p: share of the probability that is sampled from.
    """
    from transformers import GenerationConfig

    ends = end_tokens(model, processor)
    pad = processor.tokenizer.pad_token_id
    sample = temperature > 0
    return GenerationConfig(
        do_sample=sample,
        num_beams=1,
        temperature=temperature if sample else 1.0,
        top_p=top_p if sample else 1.0,
        top_k=0 if sample else 50,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        max_new_tokens=max_new_tokens,
        eos_token_id=ends or None,
        pad_token_id=pad if pad is not None else next(iter(ends), 0),
    )


def end_tokens(model: Any, processor: Any) -> list[int]:
    """Returns the tokens that end an answer; none where neither model nor tokenizer names one."""
    own = model.generation_config.eos_token_id
    ends = own if own is not None else processor.tokenizer.eos_token_id
    if ends is None:
        return []
    return list(ends) if isinstance(ends, (list, tuple)) else [ends]


def positions(model: Any) -> int | None:
    """Returns how many tokens fit prompt and answer; None where the config does not say."""
    config = model.config
    limit = getattr(getattr(config, "text_config", config), "max_position_embeddings", None)
    return None if limit is None else int(limit)
