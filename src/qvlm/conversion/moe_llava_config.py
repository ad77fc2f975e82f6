"""MoE-LLaVA's config.json in Transformers' terms; what has no counterpart is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

from qvlm.conversion.vision_tower import VisionTower
from qvlm.errors import ModelError

LANGUAGE_MODELS = {
    "moe_llava_llama": "llama",
    "moe_llava_mistral": "mistral",
    "moe_llava_phi": "phi",
    "moe_llava_qwen1_5": "qwen2",
    "moe_llava_stablelm": "stablelm",
}
"""`model_type` of the checkpoint -> that of its language model in Transformers."""
MISSING = {
    "moe_llava_minicpm": "MiniCPM",
    "moe_llava_qwen": "first Qwen",
}
"""`model_type` -> language model that Transformers does not have."""
RENAMED = {"rope_pct": "partial_rotary_factor", "norm_eps": "layer_norm_eps"}
ROTARY = ("partial_rotary_factor", "rope_scaling", "rope_theta")
DEFAULTS = {"stablelm": {"partial_rotary_factor": 0.25, "use_qkv_bias": True}}
"""What the original code takes where the field is missing, and Transformers does not."""


def text_config(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the language model's config, with its `model_type`.

    Raises:
        ModelError: Transformers has no such language model.
    """
    from transformers import AutoConfig

    kind = str(config["model_type"])
    if kind not in LANGUAGE_MODELS:
        reason = f": Transformers has no {MISSING[kind]}" if kind in MISSING else ""
        raise ModelError(
            f"no converter for model type '{kind}'{reason}; there is one for "
            f"{', '.join(LANGUAGE_MODELS)}"
        )
    model_type = LANGUAGE_MODELS[kind]
    named = {RENAMED.get(name, name): value for name, value in config.items()}
    values = {**DEFAULTS.get(model_type, {}), **named}
    fields = {field.name for field in dataclasses.fields(AutoConfig.for_model(model_type))}
    left_alone = {"architectures", "dtype", "id2label", "label2id", "transformers_version"}
    wanted = (fields | set(ROTARY)) - left_alone
    return {"model_type": model_type} | {
        name: value
        for name, value in values.items()
        if name in wanted and not (name in ROTARY and value is None)
    }


def with_experts(
    config: dict[str, Any], text: dict[str, Any], tower: VisionTower, image_id: int
) -> Any:
    """Returns the `MoeLlavaConfig` of a checkpoint.

    Raises:
        ModelError: projector, experts or image tokens are of a kind that has no counterpart.
    """
    from qvlm.models.moe_llava import MoeLlavaConfig

    _check(config)
    moe = config["moe"]
    return MoeLlavaConfig(
        vision_config=tower.config,
        text_config=text,
        image_token_index=image_id,
        image_seq_length=(tower.config.image_size // tower.config.patch_size) ** 2,
        vision_feature_layer=int(config.get("mm_vision_select_layer", -2)),
        vision_feature_select_strategy=strategy(config),
        tie_word_embeddings=bool(text.get("tie_word_embeddings", False)),
        moe_layers=list(moe["moe_layers_idx"]),
        experts=list(moe["num_experts"]),
        experts_per_token=int(moe["top_k_experts"]),
    )


def strategy(config: dict[str, Any]) -> str:
    """Returns Transformers' name for which positions of the tower are read."""
    return "default" if config.get("mm_vision_select_feature", "patch") == "patch" else "full"


def gate_notes(config: dict[str, Any]) -> tuple[str, ...]:
    """Returns how this router differs from DeepSpeed's at inference."""
    moe = config.get("moe") or {}
    top_k, experts = int(moe.get("top_k_experts", 2)), max(moe.get("num_experts") or [0])
    capacity = float(moe.get("eval_capacity_factor", 1.0)) * top_k
    notes = []
    if top_k == 2:
        notes.append(
            "the second expert is the second likeliest; DeepSpeed 0.9.5 adds random noise to that "
            "choice, at inference too"
        )
    if capacity < experts:
        notes.append(
            f"experts take every token; the original drops what exceeds {capacity:g}/{experts} of "
            "a batch's tokens per expert"
        )
    return tuple(notes)


def _check(config: dict[str, Any]) -> None:
    moe = config.get("moe")
    if not isinstance(moe, dict) or not moe.get("moe_layers_idx") or not moe.get("num_experts"):
        raise ModelError("config.json names no experts ('moe' with layers and numbers of experts)")
    projector = config.get("image_projector_type")
    reasons = {
        f"image_projector_type '{projector}' is not mlp2x_gelu": projector != "mlp2x_gelu",
        "residual experts (use_residual) are not supported": bool(moe.get("use_residual")),
        "image start and end tokens are not supported": bool(config.get("mm_use_im_start_end")),
    }
    for reason, holds in reasons.items():
        if holds:
            raise ModelError(f"this MoE-LLaVA checkpoint cannot be converted: {reason}")
