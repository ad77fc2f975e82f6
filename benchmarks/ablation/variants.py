"""The variants of the ablation: name -> changes of the width's preset.

All but the last ones start from `_PLAIN`, which has nothing beyond the paper's pieces (static
ranges per channel, the vision tower's per token), so that each line adds one thing; the last ones
are the preset as it is, and with other weights of positions in its Hessians.
"""

from __future__ import annotations

_TOWERS = ("language", "projector", "vision")
_PLAIN = (
    "search.strategy=coordinate",
    "search.objective=normalized",
    "search.token_weights=uniform",
    "search.start=lp",
    "rounding.token_weights=uniform",
    "vision_optimization=null",
    "calibration.guard_fraction=0",
    *(f"{tower}.weights.rounding=nearest" for tower in _TOWERS),
    *(f"{tower}.activations.granularity=per_channel" for tower in ("language", "projector")),
    "vision.activations.granularity=per_token",
)
_LAYERS = "partition.proxy=single_layer"
_BLOCKS = "partition.proxy=entropy"
_VISION = "vision_optimization={}"
_FASTER = "vision_optimization.learning_rate=1e-4"
_GUARD = "calibration.guard_fraction=0.25"
_GPTQ = tuple(f"{tower}.weights.rounding=gptq" for tower in _TOWERS)
_BALANCED = "search.token_weights=modality_balanced"
_PER_TOKEN = tuple(f"{tower}.activations.granularity=per_token" for tower in _TOWERS)
_NO_SEARCH = "search.strategy=none"
_LEFT_TO_RIGHT = "rounding.activation_order=false"
_BY_ACTIVATION = "rounding.activation_order=true"
_GROUPS = tuple(f"{tower}.activations.granularity=per_group" for tower in _TOWERS)
_ROTATED = tuple(f"{granularity}_rotated" for granularity in _GROUPS)

VARIANTS: dict[str, tuple[str, ...]] = {
    "RTN per token": (*_PLAIN, *_PER_TOKEN, _NO_SEARCH),
    "min-max": (*_PLAIN, _LAYERS, _NO_SEARCH, "search.start=minmax"),
    "lp": (*_PLAIN, _LAYERS, _NO_SEARCH),
    "baseline (layer-wise)": (*_PLAIN, _LAYERS),
    "+ CDM": (*_PLAIN, _BLOCKS),
    "+ CDM, l2": (*_PLAIN, _BLOCKS, "search.objective=l2"),
    "+ CDM, exhaustive": (*_PLAIN, _BLOCKS, "search.strategy=exhaustive"),
    "+ VEO": (*_PLAIN, _LAYERS, _VISION),
    "+ CDM + VEO": (*_PLAIN, _BLOCKS, _VISION),
    "+ VEO, 10 x rate": (*_PLAIN, _LAYERS, _FASTER),
    "+ VEO, 10 x rate and error": (
        *_PLAIN, _LAYERS, _FASTER, "vision_optimization.error_weight=10",
    ),
    "+ VEO, 10 x rate and entropy": (
        *_PLAIN, _LAYERS, _FASTER, "vision_optimization.entropy_weight=0.1",
    ),
    "+ CDM, balanced": (*_PLAIN, _BLOCKS, _BALANCED),
    "+ CDM, answer": (*_PLAIN, _BLOCKS, "search.token_weights=answer"),
    "+ CDM, gradient": (*_PLAIN, _BLOCKS, "search.token_weights=gradient"),
    "+ CDM + guard": (*_PLAIN, _BLOCKS, _GUARD),
    "+ CDM, balanced + guard": (*_PLAIN, _BLOCKS, _GUARD, _BALANCED),
    "+ CDM + gptq": (*_PLAIN, _BLOCKS, *_GPTQ),
    "+ CDM + guard + gptq": (*_PLAIN, _BLOCKS, _GUARD, *_GPTQ),
    "+ CDM, balanced + guard + gptq": (*_PLAIN, _BLOCKS, _GUARD, _BALANCED, *_GPTQ),
    "min-max + gptq": (*_PLAIN, _LAYERS, _NO_SEARCH, "search.start=minmax", *_GPTQ),
    "min-max + gptq + guard": (
        *_PLAIN, _LAYERS, _NO_SEARCH, "search.start=minmax", *_GPTQ, _GUARD,
    ),
    "lp + VEO": (*_PLAIN, _LAYERS, _NO_SEARCH, _VISION),
    "lp + gptq": (*_PLAIN, _LAYERS, _NO_SEARCH, *_GPTQ),
    "min-max + gptq, balanced": (
        *_PLAIN, _LAYERS, _NO_SEARCH, "search.start=minmax", *_GPTQ,
        "rounding.token_weights=modality_balanced",
    ),
    "min-max + gptq, answer": (
        *_PLAIN, _LAYERS, _NO_SEARCH, "search.start=minmax", *_GPTQ,
        "rounding.token_weights=answer",
    ),
    "min-max + gptq, gradient": (
        *_PLAIN, _LAYERS, _NO_SEARCH, "search.start=minmax", *_GPTQ,
        "rounding.token_weights=gradient",
    ),
    "paper's letter": (
        *_PLAIN,
        _BLOCKS,
        _VISION,
        "search.objective=l2",
        "search.strategy=exhaustive",
    ),
    "per token and group": (*_PLAIN, *_GROUPS, _LAYERS, _NO_SEARCH),
    "+ rotation": (*_PLAIN, *_ROTATED, _LAYERS, _NO_SEARCH),
    "per token and group + gptq": (*_PLAIN, *_GROUPS, _LAYERS, _NO_SEARCH, *_GPTQ),
    "+ rotation + gptq": (*_PLAIN, *_ROTATED, _LAYERS, _NO_SEARCH, *_GPTQ),
    "default": (),
    "default, static": (
        *(f"{tower}.activations.granularity=per_channel" for tower in ("language", "projector")),
        "vision.activations.granularity=per_token",
    ),
    "default, rotated groups of 32": (
        *(f"{tower}.weights.granularity=per_group" for tower in _TOWERS),
        *(f"{tower}.weights.group_size=32" for tower in _TOWERS),
        *_ROTATED,
    ),
    "default, balanced": ("rounding.token_weights=modality_balanced",),
    "default, answer": ("rounding.token_weights=answer",),
    "default, gradient": ("rounding.token_weights=gradient",),
    "rounding left to right": (_LEFT_TO_RIGHT, "rounding.shrinkage=0"),
    "rounding by activation": (_BY_ACTIVATION, "rounding.shrinkage=0"),
    "rounding left to right, shrunk by 0.05": (_LEFT_TO_RIGHT, "rounding.shrinkage=0.05"),
    "rounding by activation, shrunk by 0.05": (_BY_ACTIVATION, "rounding.shrinkage=0.05"),
}  # fmt: skip
