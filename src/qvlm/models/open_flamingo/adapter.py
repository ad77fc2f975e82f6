"""Where an OpenFlamingo's layers are: gated layers run between those of the language model."""

from __future__ import annotations

from typing import Any

from torch import nn

from qvlm.models.adapter import HEAD, Declaration, Part, stack
from qvlm.models.stacks import stacks_in


def interleaved(model: nn.Module) -> tuple[str, ...]:
    """Layers of both lists in the order in which they run."""
    config: Any = model.config
    every = config.cross_layer_interval
    stacks = stacks_in(model, "model")
    gated = stacks["model.gated_cross_attn_layers"]
    paths: list[str] = []
    for index, path in enumerate(stacks["model.blocks"], start=1):
        if index % every == 0:
            paths.append(gated[index // every - 1])
        paths.append(path)
    return tuple(paths)


ADAPTER = Declaration(
    parts=(
        stack("vision", "model.vision_model"),
        stack("projector", "model.perceiver_resampler"),
        Part("language", interleaved),
        HEAD,
    )
)
