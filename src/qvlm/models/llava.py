"""LLaVA: CLIP-like vision tower, two-layer projector, Llama-like language model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import nn

from qvlm.artefacts import Tower
from qvlm.artefacts.layout import TowerName
from qvlm.models.adapter import CLIP_LAYER, LLAMA_LAYER, Roles

VISION = "model.vision_tower.encoder.layers"
PROJECTOR = "model.multi_modal_projector"
LANGUAGE = "model.language_model.layers"

ROLES: dict[TowerName, Roles] = {
    "vision": CLIP_LAYER,
    "projector": {"fc1_in": ("linear_1",), "fc2_in": ("linear_2",)},
    "language": LLAMA_LAYER,
    "head": {"head_in": ("",)},
}


class LlavaAdapter:
    """Adapter of `LlavaForConditionalGeneration`."""

    def towers(self, model: nn.Module) -> tuple[Tower, ...]:
        """Vision tower up to the last layer that is read, projector, language model, head."""
        unused = self.unused_layers(model)
        return (
            Tower(name="vision", layers=tuple(p for p in _vision(model) if p not in unused)),
            Tower(name="projector", layers=(PROJECTOR,)),
            Tower(name="language", layers=_paths(model, LANGUAGE)),
            Tower(name="head", layers=("lm_head",)),
        )

    def roles(self, tower: TowerName) -> Roles:
        """Sites of a layer of that tower."""
        return ROLES[tower]

    def unused_layers(self, model: nn.Module) -> Mapping[str, str]:
        """Vision layers above the highest `vision_feature_layer`: LLaVA-1.5 reads layer -2."""
        layers = _vision(model)
        config: Any = model.config
        selected = config.vision_feature_layer
        states = [selected] if isinstance(selected, int) else list(selected)
        # hidden_states holds the embedding and one entry per layer.
        last = max(state if state >= 0 else len(layers) + 1 + state for state in states)
        return dict.fromkeys(layers[last:], f"above vision_feature_layer {selected}")


def _vision(model: nn.Module) -> tuple[str, ...]:
    return _paths(model, VISION)


def _paths(model: nn.Module, stack: str) -> tuple[str, ...]:
    layers = cast(nn.ModuleList, model.get_submodule(stack))
    return tuple(f"{stack}.{index}" for index in range(len(layers)))
