"""Read the tensors of a checkpoint from safetensors, or from PyTorch's own pickles as tensors only.

Only conversions open pickles: `torch.load(weights_only=True)`, which Transformers uses for vision
towers too, builds tensors and containers of them and refuses all else: no file can run code.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qvlm.errors import ModelError

Tensors = dict[str, torch.Tensor]
PATTERNS = ("model*.safetensors", "pytorch_model*.bin")


def read_weights(source: Path) -> Tensors:
    """Returns all tensors of a file, or of the shards of a directory.

    Raises:
        ModelError: there are none, or a file is damaged or holds more than tensors.
    """
    tensors: Tensors = {}
    for file in [source] if source.is_file() else _shards(source):
        tensors |= _read_file(file)
    return tensors


def fill(model: nn.Module, tensors: Tensors, source: object) -> nn.Module:
    """Gives an empty model its parameters, in evaluation mode.

    Raises:
        ModelError: one is missing, left over or of another shape.
    """
    owner: Any = model
    try:
        result = model.load_state_dict(tensors, strict=False, assign=True)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise ModelError(f"'{source}' does not fit its config: {reason}") from error
    owner.tie_weights()
    unset = [name for name, parameter in model.named_parameters() if parameter.is_meta]
    if unset or result.unexpected_keys:
        name = unset[0] if unset else result.unexpected_keys[0]
        raise ModelError(
            f"'{source}' {'lacks' if unset else 'has an unknown'} tensor of '{name}': "
            "is it of this layout, and complete?"
        )
    return model.eval()


def _shards(directory: Path) -> list[Path]:
    for pattern in PATTERNS:
        if found := sorted(directory.glob(pattern)):
            return found
    raise ModelError(f"'{directory}' holds no weights: expected {' or '.join(PATTERNS)}")


def _read_file(file: Path) -> Tensors:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if file.suffix == ".safetensors":
        try:
            return load_file(file)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"'{file}' cannot be read: {error}") from error
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"'{file}' is damaged or holds more than tensors, which qvlm does not unpickle"
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise ModelError(f"'{file}' cannot be read: {str(error).splitlines()[0]}") from error
    return _tensors_of(content, file)


def _tensors_of(content: Any, file: Path) -> Tensors:
    """The state dict in what a training script saved, without `module.` of a parallel model."""
    if isinstance(content, Mapping) and isinstance(content.get("model_state_dict"), Mapping):
        content = content["model_state_dict"]
    if not isinstance(content, Mapping) or not all(
        isinstance(value, torch.Tensor) for value in content.values()
    ):
        raise ModelError(f"'{file}' holds no state dict: names of parameters with their tensors")
    return {str(name).removeprefix("module."): value for name, value in content.items()}
