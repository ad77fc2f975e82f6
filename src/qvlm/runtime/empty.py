"""The model of a checkpoint before it has weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from torch import nn

from qvlm.errors import ArtefactError


def empty_model(directory: Path) -> nn.Module:
    """Returns the architecture that config.json describes, without memory for its parameters.

    Raises:
        ArtefactError: there is no config.json, or it describes no model that can be built.
    """
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForImageTextToText

    values = _read_config(directory)
    try:
        with init_empty_weights(include_buffers=False):
            config = AutoConfig.for_model(**values)
            model = AutoModelForImageTextToText.from_config(config)
    except (TypeError, ValueError, KeyError, AttributeError, StrictDataclassError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ArtefactError(
            f"'{directory / 'config.json'}' describes no model that can be built: {reason[0]}"
        ) from error
    # Without memory every assignment made a parameter of its own, so nothing is tied yet.
    model.tie_weights()
    empty: nn.Module = model
    return empty


def _read_config(directory: Path) -> dict[str, Any]:
    path = directory / "config.json"
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtefactError(f"'{path}' cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise ArtefactError(f"'{path}' is not a model's config: it holds no fields")
    values.pop("quantization_config", None)
    return values
