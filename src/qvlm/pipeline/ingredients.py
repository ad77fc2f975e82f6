"""What decides the outcome of a run, so that only the same run is resumed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from qvlm import __version__, machine
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.journal import file_checksum
from qvlm.schemes import Recipe

_MODEL_FILES = (".safetensors", ".json", ".jinja", ".model", ".txt", ".py")


def ingredients_of(
    directory: Path, recipe: Recipe, batches: Mapping[str, Sequence[Batch]]
) -> dict[str, dict[str, Any]]:
    """Returns kind -> name -> value of everything that decides what a run writes.

    Every byte of the model's files counts, and every value that the model is given: a changed
    image is found even where its question stays.

    Args:
        directory: of the model.
        recipe: with its seed.
        batches: what they are for -> calibration samples as the model gets them.
    """
    files = sorted(path for path in directory.iterdir() if path.suffix in _MODEL_FILES)
    return {
        "recipe field": recipe.model_dump(mode="json"),
        "model file": {path.name: file_checksum(path) for path in files if path.is_file()},
        "data": {f"{use} samples": _batches_checksum(part) for use, part in batches.items()},
        "version": {"qvlm": __version__, **machine.versions()},
    }


def request_of(
    model: str | Path, recipe: Recipe, calibration: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns what starts the same run again, as JSON can say it."""
    return {
        "model": str(model),
        "recipe": recipe.model_dump(mode="json"),
        "calibration": calibration,
        "options": dict(options),
        "directory": str(Path.cwd()),
    }


def _batches_checksum(batches: Sequence[Batch]) -> str:
    digest = hashlib.sha256()
    for batch in batches:
        for name, tensor in sorted({**batch.inputs, "labels": batch.labels}.items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
