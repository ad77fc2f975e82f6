"""Tells the layouts of original checkpoints apart, converts and writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qvlm.artefacts.conversion import Conversion
from qvlm.artefacts.store import write_json
from qvlm.conversion import moe_llava, open_flamingo
from qvlm.conversion.parts import Converted, Request
from qvlm.errors import ModelError
from qvlm.models.quiet import quiet_transformers

RECORD = "conversion.json"


def convert_checkpoint(request: Request, directory: Path) -> Conversion:
    """Writes an original checkpoint as a model of Transformers, with its processor.

    Args:
        request: where its parts are.
        directory: exists and is empty.

    Raises:
        ModelError: it is of no layout that qvlm knows, or lacks something.
    """
    with quiet_transformers():
        converted = _convert(request)
        model: Any = converted.model
        model.save_pretrained(directory)
        converted.processor.save_pretrained(directory)
    write_json(directory / RECORD, converted.record)
    return converted.record


def _convert(request: Request) -> Converted:
    if not request.source.exists():
        raise ModelError(f"'{request.source}' does not exist: give an original checkpoint")
    config = _config(request.source)
    if str(config.get("model_type", "")).startswith("moe_llava_"):
        return moe_llava.convert(request, config)
    if request.source.suffix == ".pt":
        return open_flamingo.convert(request)
    raise ModelError(
        f"'{request.source}' is of no layout that can be converted: expected a MoE-LLaVA directory "
        "(config.json with a model_type moe_llava_...) or the .pt file of an OpenFlamingo"
    )


def _config(source: Path) -> dict[str, Any]:
    path = source / "config.json"
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"'{path}' is not JSON: {error}") from error
    return values if isinstance(values, dict) else {}
