"""Qwen2-VL, Qwen2.5-VL and Qwen3-VL: a vision tower over packed patches, its merger, Qwen.

Qwen3-VL also merges what some vision layers in between give (DeepStack) and adds that to the
first layers of the language model; the mergers for that are towers of their own, since each has
another input.
"""

from __future__ import annotations

from qvlm.models.adapter import HEAD, Declaration, Part, module, stack

VISION = "model.visual"
DEEPSTACK = f"{VISION}.deepstack_merger_list"
MOST_MERGERS = 8


def deepstack(index: int) -> Part:
    """The merger of that index, where the model has it."""
    return module(f"projector_deepstack_{index}", f"{DEEPSTACK}.{index}")


ADAPTER = Declaration(
    parts=(
        stack("vision", VISION),
        *map(deepstack, range(MOST_MERGERS)),
        module("projector", f"{VISION}.merger"),
        stack("language", "model.language_model"),
        HEAD,
    )
)
