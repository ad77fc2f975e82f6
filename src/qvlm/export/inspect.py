"""Look at a checkpoint of either format without running it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from qvlm.artefacts.checkpoint import WEIGHTS_NAME, site_names, weight_names
from qvlm.artefacts.verification import Check
from qvlm.export.standard.experts import fused_of, paths_on_hub
from qvlm.export.standard.files import Held, held_in_file
from qvlm.export.standard.read import PARTS, StandardCheckpoint, read_standard
from qvlm.export.standard.vllm_names import KNOWN, misread, reason_unknown
from qvlm.export.stored import NATIVE, StoredLayer, from_index, predicted_bytes, table_bytes
from qvlm.models.experts import split_experts
from qvlm.models.hub_names import hub_names
from qvlm.runtime.empty import empty_model
from qvlm.runtime.load import read_index

SIZE_TOLERANCE = 0.02
_DTYPE_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True)
class Inspection:
    """What a checkpoint's files say.

    Attributes:
        form: `qvlm` or `compressed-tensors`.
        layers: quantized linears.
        checks: of the files.
    """

    form: str
    layers: tuple[StoredLayer, ...]
    checks: tuple[Check, ...]


def inspect_native(directory: Path) -> Inspection:
    """Looks at a run of `qvlm quantize`.

    Raises:
        ArtefactError: it is damaged.
    """
    index = read_index(directory)
    held = held_in_file(directory / WEIGHTS_NAME)
    readers: dict[str, int] = {}
    for layer in index.layers:
        readers[layer.site] = readers.get(layer.site, 0) + 1
    layers = []
    for layer in index.layers:
        own = sum(held[name].nbytes for name in weight_names(layer.path) if name in held)
        shared = sum(held[name].nbytes for name in site_names(layer.site) if name in held)
        layers.append(from_index(layer, own + shared / readers[layer.site]))
    model = empty_model(directory)
    split_experts(model)
    sites = sum(held[name].nbytes for site in readers for name in site_names(site) if name in held)
    predicted = sites + sum(predicted_bytes(layer, 2) for layer in layers)
    quantized = {layer.path for layer in layers}
    if index.embeddings is not None:
        predicted += table_bytes(index.embeddings)
        quantized.add(index.embeddings.path)
    predicted += _float_bytes(model, quantized)
    return Inspection(NATIVE, tuple(layers), (_size(predicted, held),))


def inspect_standard(directory: Path) -> Inspection:
    """Looks at a compressed-tensors checkpoint, whoever wrote it.

    Raises:
        ArtefactError: it is damaged, or of a kind that qvlm cannot read.
    """
    found = read_standard(directory)
    quantized = {layer.path for layer in found.layers}
    small = sum(
        held.nbytes
        for name, held in found.tensors.items()
        if name.rpartition(".")[2] in ("input_scale", "input_zero_point", "weight_shape")
    )
    scale_bytes = max(
        held.nbytes // max(1, held.count)
        for name, held in found.tensors.items()
        if name.endswith("weight_scale")
    )
    predicted = small + sum(predicted_bytes(layer, scale_bytes) for layer in found.layers)
    fused = {fused_of(path, found.experts) for path in quantized} - {None}
    predicted += _float_bytes(found.model, quantized, fused)
    checks = [_size(predicted, found.tensors), _transformers_names(found), _names(found)]
    return Inspection("compressed-tensors", found.layers, tuple(checks))


def _transformers_names(found: StandardCheckpoint) -> Check:
    """Whether Transformers understands every entry of the config as qvlm does."""
    name = "names in Transformers"
    if not found.misnamed:
        return Check(name=name, outcome="ok", detail="it finds every layer that the config names")
    detail = (
        f"{len(found.misnamed)} layers, first '{found.misnamed[0]}', are named as in the files; "
        "from_pretrained compares with names in memory and would take them for quantized: name "
        "them by expressions (re:.*) in quantization_config. qvlm reads them as they are meant"
    )
    return Check(name=name, outcome="failed", detail=detail)


def _names(found: StandardCheckpoint) -> Check:
    """Whether vLLM finds every layer under the name and in the group that Transformers does."""
    name = "names in vLLM"
    reason = reason_unknown(found.model.config)
    if reason is not None:
        return Check(name=name, outcome="not checked", detail=reason)
    names = KNOWN[found.model.config.model_type]
    labels = {layer.path: f"{layer.form} {layer.label}" for layer in found.layers}
    hub = paths_on_hub(found.model, (*labels, *found.kept), found.experts)
    wrong = misread(names, found.raw, hub, labels, found.kept)
    wrong += _unknown_names(found)
    count = len(labels) + len(found.kept)
    detail = "; ".join(wrong) or f"{count} linears mean the same there"
    return Check(name=name, outcome="failed" if wrong else "ok", detail=detail)


def _unknown_names(found: StandardCheckpoint) -> list[str]:
    """The first tensor that is not where the hub, and so vLLM, has it."""
    weights = {
        name: f"{path}.weight" if leaf in PARTS else memory
        for name, memory in found.names.items()
        for path, _, leaf in [memory.rpartition(".")]
        if fused_of(path, found.experts) is None
    }
    hub = hub_names(found.model, set(weights.values()))
    for name, memory in weights.items():
        if name.rpartition(".")[0] != hub[memory].rpartition(".")[0]:
            return [f"vLLM does not find '{name}', which it knows as '{hub[memory]}'"]
    return []


def _size(predicted: float, held: Mapping[str, Held]) -> Check:
    actual = sum(tensor.nbytes for tensor in held.values())
    off = actual / predicted - 1
    return Check(
        name="size",
        outcome="ok" if abs(off) <= SIZE_TOLERANCE else "failed",
        detail=f"{actual} bytes of tensors, {predicted:.0f} predicted from the bits ({off:+.2%})",
    )


def _float_bytes(model: nn.Module, quantized: set[str], fused: Collection[str | None] = ()) -> int:
    """Bytes of what stays in floating point, tied tensors once."""
    config: Any = model.config
    width = _DTYPE_BYTES[str(config.dtype).removeprefix("torch.")]
    kept = (
        parameter
        for name, parameter in model.named_parameters()
        if name not in fused
        and not (name.endswith(".weight") and name.rpartition(".")[0] in quantized)
    )
    return width * sum(parameter.numel() for parameter in kept)
