"""Time a model on one question."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from qvlm.data import Sample
from qvlm.data.batches import prompt_inputs
from qvlm.data.encode import image_tokens


@dataclass(frozen=True)
class Timings:
    """Seconds of every run, and the lengths that they belong to.

    Attributes:
        prompt_tokens: length of the prompt, image tokens included.
        image_tokens: of these, the image's.
        first_token: seconds to the first new token.
        answer: seconds to the last.
    """

    prompt_tokens: int
    image_tokens: int
    first_token: tuple[float, ...]
    answer: tuple[float, ...]


@torch.no_grad()
def time_answers(
    model: Any, processor: Any, sample: Sample, new_tokens: int, repeat: int
) -> Timings:
    """Answers one question again and again, greedily, to a fixed length.

    The first round only warms up. Runs to one token and to `new_tokens` take turns, so that
    whatever else the machine does falls on both.

    Args:
        model: in evaluation mode.
        processor: of the model.
        sample: the question.
        new_tokens: length of the answer, at least 2.
        repeat: timed rounds.
    """
    inputs = {
        name: tensor.to(model.dtype) if tensor.is_floating_point() else tensor
        for name, tensor in prompt_inputs([sample], processor).items()
    }
    first, answer = [], []
    for turn in range(repeat + 1):
        one, all_ = _seconds(model, inputs, 1), _seconds(model, inputs, new_tokens)
        if turn > 0:
            first.append(one)
            answer.append(all_)
    return Timings(
        prompt_tokens=inputs["input_ids"].shape[1],
        image_tokens=image_tokens(inputs, processor),
        first_token=tuple(first),
        answer=tuple(answer),
    )


def weight_bytes(model: nn.Module) -> int:
    """Bytes of parameters and buffers; shared ones count once."""
    tensors = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
        for tensor in (*model.parameters(), *model.buffers())
    }
    return sum(tensors.values())


def _seconds(model: Any, inputs: dict[str, torch.Tensor], new_tokens: int) -> float:
    from transformers import GenerationConfig

    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=new_tokens,
        min_new_tokens=new_tokens,
        eos_token_id=model.generation_config.eos_token_id,
        pad_token_id=0,  # one question needs no padding; None would make it warn
    )
    start = time.perf_counter()
    output = model.generate(**inputs, generation_config=settings)
    seconds = time.perf_counter() - start
    if output.shape[1] != inputs["input_ids"].shape[1] + new_tokens:
        raise RuntimeError(f"asked for {new_tokens} tokens, got {output.shape[1]} in all")
    return seconds
