"""Load a native checkpoint into a Transformers model with quantized linears."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qvlm.artefacts.checkpoint import (
    FORMAT_VERSION,
    INDEX_NAME,
    WEIGHTS_NAME,
    CheckpointIndex,
    QuantizedLayer,
    QuantizedTable,
    site_names,
)
from qvlm.artefacts.lazy import LazyTensors
from qvlm.artefacts.store import read_json
from qvlm.errors import ArtefactError
from qvlm.machine import give_freed_memory_back
from qvlm.runtime.definition import Arithmetic
from qvlm.runtime.embedding import QuantizedEmbedding
from qvlm.runtime.empty import empty_model
from qvlm.runtime.kernels.choose import DEFINITION, Choice, choose
from qvlm.runtime.linear import QuantizedLinear, shape_of
from qvlm.runtime.packed import unpacked_grid, unpacked_weight
from qvlm.runtime.parameters import LinearParameters

CPU = torch.device("cpu")
_GIVEN_BACK = 1 << 26
"""Weights after which freed memory goes back to the system. Unpacking frees some bytes for each,
which would stay with the process; giving them back takes some milliseconds."""


def is_quantized(directory: Path) -> bool:
    """True where a directory holds a native checkpoint."""
    return (directory / INDEX_NAME).is_file()


def read_index(directory: Path) -> CheckpointIndex:
    """Reads what a checkpoint says of its layers.

    Raises:
        ArtefactError: there is no index, it is damaged or of a newer format.
    """
    path = directory / INDEX_NAME
    if path.is_file():
        try:
            version = json.loads(path.read_text(encoding="utf-8")).get("format_version")
        except (ValueError, AttributeError) as error:
            raise ArtefactError(f"'{path}' is not a checkpoint index: {error}") from error
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise ArtefactError(
                f"'{path}' has format version {version}; this qvlm reads up to "
                f"{FORMAT_VERSION}: install a newer one"
            )
    return read_json(path, CheckpointIndex)


def load_quantized(
    directory: Path,
    arithmetic: Arithmetic = "integer",
    *,
    allow_fallback: bool = False,
    device: torch.device = CPU,
    prepare: Callable[[nn.Module], None] = lambda model: None,
) -> nn.Module:
    """Builds the model of a checkpoint, in evaluation mode.

    Which kernel each layer got is in the model's `qvlm_kernels`: layer path -> `Choice`.

    Args:
        directory: written by `qvlm quantize`.
        arithmetic: `integer`, or `simulated` for the same numbers from float products.
        allow_fallback: run layers without a kernel by the slow definition instead of raising.
        device: where it will run, which decides the kernels.
        prepare: changes the modules of the empty model into those that were quantized.

    Raises:
        ArtefactError: a file is missing or damaged, or a tensor is missing or has a wrong shape.
        KernelError: a layer has no kernel here, or the one that was asked for does not run.
    """
    from transformers import GenerationConfig

    index = read_index(directory)
    file = _Reader(LazyTensors(directory / WEIGHTS_NAME))
    model = empty_model(directory)
    prepare(model)
    choices: dict[str, Choice] = {}
    unpacked = 0
    for layer in index.layers:
        parameters = _parameters(file, layer)
        choice = (
            Choice(DEFINITION, "simulated arithmetic")
            if arithmetic == "simulated"
            else choose(
                shape_of(parameters),
                layer.path,
                allow_fallback=allow_fallback,
                device=device.type,
            )
        )
        choices[layer.path] = choice
        _put(model, layer.path, QuantizedLinear(parameters, arithmetic, choice.kernel, layer.path))
        unpacked += layer.in_features * layer.out_features
        if unpacked > _GIVEN_BACK:
            give_freed_memory_back()
            unpacked = 0
    if index.embeddings is not None:
        _put(model, index.embeddings.path, _table(file, index.embeddings))
    _load_rest(model, file.rest(), directory)
    if (directory / "generation_config.json").is_file():
        settings: Any = model
        settings.generation_config = GenerationConfig.from_pretrained(directory)
    recorded: Any = model
    recorded.qvlm_kernels = choices
    return model.to(device).eval()


def _put(model: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    try:
        setattr(model.get_submodule(parent), name, module)
    except AttributeError as error:
        raise ArtefactError(f"the model of the checkpoint has no layer '{path}'") from error


def take_parameters(tensors: dict[str, torch.Tensor], layer: QuantizedLayer) -> LinearParameters:
    """Takes a layer's tensors out of a native checkpoint's; those of its site stay.

    Raises:
        ArtefactError: one is missing, or has another shape or type than the index says.
    """
    reader = _Reader(tensors)
    parameters = _parameters(reader, layer)
    for name in reader.names - set(site_names(layer.site)):
        del tensors[name]
    return parameters


def _parameters(file: _Reader, layer: QuantizedLayer) -> LinearParameters:
    weight = unpacked_weight(
        layer.path,
        file.read,
        (layer.out_features, layer.in_features),
        bits=layer.weight_bits,
        group_size=layer.group_size,
        symmetric=layer.symmetric,
    )
    grid = None
    if layer.is_static:
        width = 1 if layer.activations.granularity == "per_tensor" else layer.in_features
        grid = unpacked_grid(layer.site, file.read, width, layer.activations.bits)
    bias = file.read_if_there(f"{layer.path}.bias")
    return LinearParameters(weight, bias, layer.activations, grid)


def _table(file: _Reader, table: QuantizedTable) -> QuantizedEmbedding:
    weight = unpacked_weight(
        table.path,
        file.read,
        (table.rows, table.width),
        bits=table.bits,
        group_size=table.group_size,
        symmetric=table.symmetric,
    )
    return QuantizedEmbedding(weight, getattr(torch, table.dtype))


class _Reader:
    """The tensors of a checkpoint, read one by one, with what has been read."""

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self._tensors = tensors
        self.names: set[str] = set()

    def read(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """A tensor that has to be there."""
        if name not in self._tensors:
            raise ArtefactError(f"the checkpoint lacks tensor '{name}': it is incomplete")
        tensor = self._tensors[name]
        if tuple(tensor.shape) != shape:
            raise ArtefactError(
                f"tensor '{name}' has shape {tuple(tensor.shape)}, expected {shape}"
            )
        if tensor.dtype != dtype:
            raise ArtefactError(f"tensor '{name}' has type {tensor.dtype}, expected {dtype}")
        self.names.add(name)
        return tensor

    def read_if_there(self, name: str) -> torch.Tensor | None:
        """A tensor that may be missing, in float32."""
        if name not in self._tensors:
            return None
        self.names.add(name)
        return self._tensors[name].float()

    def rest(self) -> dict[str, torch.Tensor]:
        """What has not been read."""
        return {name: self._tensors[name] for name in self._tensors if name not in self.names}


def _load_rest(model: Any, tensors: dict[str, torch.Tensor], directory: Path) -> None:
    """Loads what stayed in floating point, and checks that nothing is left over or missing."""
    try:
        result = model.load_state_dict(tensors, strict=False, assign=True)
    except RuntimeError as error:
        lines = str(error).strip().splitlines()
        raise ArtefactError(
            f"checkpoint '{directory}' does not fit its config.json: {lines[-1].strip()}"
        ) from error
    model.tie_weights()
    unset = [name for name, tensor in model.named_parameters() if tensor.is_meta]
    if unset or result.unexpected_keys:
        culprit = unset[0] if unset else result.unexpected_keys[0]
        kind = "lacks" if unset else "has an unknown"
        raise ArtefactError(f"checkpoint '{directory}' {kind} tensor '{culprit}'")
