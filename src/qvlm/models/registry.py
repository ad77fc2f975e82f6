"""Which adapter understands which architecture (imported only when needed)."""

from __future__ import annotations

import importlib

from qvlm.errors import ModelError, nearest
from qvlm.models.adapter import Adapter

ADAPTERS = {
    "aya_vision": "qvlm.models.llava",
    "gemma3": "qvlm.models.gemma",
    "idefics": "qvlm.models.idefics",
    "idefics3": "qvlm.models.idefics3",
    "internvl": "qvlm.models.llava",
    "llava": "qvlm.models.llava",
    "llava_next": "qvlm.models.llava",
    "llava_onevision": "qvlm.models.llava",
    "mllama": "qvlm.models.mllama",
    "moe_llava": "qvlm.models.llava",
    "open_flamingo": "qvlm.models.open_flamingo.adapter",
    "paligemma": "qvlm.models.gemma",
    "qwen2_5_vl": "qvlm.models.qwen_vl",
    "qwen2_vl": "qvlm.models.qwen_vl",
    "qwen3_vl": "qvlm.models.qwen_vl",
    "qwen3_vl_moe": "qvlm.models.qwen_vl",
    "smolvlm": "qvlm.models.idefics3",
}
"""`model_type` of config.json -> module that holds its `ADAPTER`."""


GUIDE = "docs/how-to/add-an-architecture.md"


UNFIT = {
    "blip-2": "its Q-Former reads the image and learned queries at once, in layers that are no "
    "chain from hidden state to hidden state, and the language model may be an encoder-decoder",
    "florence2": "its DaViT tower changes the shape of the hidden state between stages, and its "
    "language model is an encoder-decoder whose second stack starts anew",
    "instructblip": "its Q-Former reads image, queries and instruction at once",
}
"""Known model types that the contract of towers and layers cannot hold, with the reason."""


def adapter_for(model_type: str, adapter: str = "auto") -> Adapter:
    """Returns the adapter of an architecture.

    Args:
        model_type: of config.json.
        adapter: `auto`, or `generic` for the one that is derived from the module tree.

    Raises:
        ModelError: no adapter is registered for it.
    """
    if model_type in UNFIT:
        raise ModelError(f"model type '{model_type}' does not fit: {UNFIT[model_type]}")
    if adapter == "generic":
        return importlib.import_module("qvlm.models.generic").ADAPTER  # type: ignore[no-any-return]
    if model_type not in ADAPTERS:
        known = ", ".join(sorted(ADAPTERS))
        raise ModelError(
            f"model type '{model_type}' is not a vision-language model that qvlm has an adapter "
            f"for{nearest(model_type, ADAPTERS)}; supported: {known}. "
            f"Try --adapter generic, or add it: {GUIDE}"
        )
    found: Adapter = importlib.import_module(ADAPTERS[model_type]).ADAPTER
    return found
