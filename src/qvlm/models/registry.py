"""Which adapter understands which architecture (imported only when needed)."""

from __future__ import annotations

import importlib

from qvlm.errors import ModelError, nearest
from qvlm.models.adapter import Adapter

ADAPTERS = {
    "llava": "qvlm.models.llava:LlavaAdapter",
}
"""`model_type` of config.json -> module:class."""


def adapter_for(model_type: str) -> Adapter:
    """Returns the adapter of an architecture.

    Raises:
        ModelError: no adapter is registered for it.
    """
    if model_type not in ADAPTERS:
        known = ", ".join(sorted(ADAPTERS))
        raise ModelError(
            f"model type '{model_type}' is not a vision-language model that qvlm has an adapter "
            f"for{nearest(model_type, ADAPTERS)}; supported: {known}"
        )
    module, name = ADAPTERS[model_type].split(":")
    adapter: Adapter = getattr(importlib.import_module(module), name)()
    return adapter
