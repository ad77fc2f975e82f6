"""Idefics, the open Flamingo: CLIP, a perceiver resampler, Llama with gated cross-attention.

A gated cross-attention layer runs before every n-th layer of the language model.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from qvlm.models.adapter import HEAD, Declaration, Part, module, stack
from qvlm.models.stacks import stacks_in


def interleaved(model: nn.Module) -> tuple[str, ...]:
    """Layers of both lists in the order in which they run."""
    config: Any = model.config
    every = config.cross_layer_interval
    stacks = stacks_in(model, "model")
    crossing = stacks["model.gated_cross_attn_layers"]
    paths: list[str] = []
    for index, path in enumerate(stacks["model.layers"]):
        if index % every == 0:
            paths.append(crossing[index // every])
        paths.append(path)
    return tuple(paths)


ADAPTER = Declaration(
    parts=(
        stack("vision", "model.vision_model"),
        module("projector", "model.perceiver_resampler"),
        Part("language", interleaved),
        HEAD,
    )
)
