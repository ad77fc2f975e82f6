"""Experts as the hub has them: a linear per expert and projection, where memory has fused tensors.

Transformers 5 unpacks them into its fused tensors while it loads, which is why only packed weights
of one scheme, without activations, survive the way there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from qvlm.artefacts.checkpoint import CheckpointIndex, QuantizedLayer
from qvlm.errors import ExportError, ModelError
from qvlm.export.standard.scheme import PACKED, scheme_of
from qvlm.models.experts import FIRST, LAST, fused_experts
from qvlm.models.hub_names import expert_names, hub_names

_EXPERT = re.compile(r"(.*\.experts)\.(\d+)\.(\w+)")
Parts = Mapping[str, tuple[str, ...]]
"""Fused tensor in memory -> names on the hub of what it holds, `*` for the expert's number."""


def expert_parts(model: Any) -> Parts:
    """Returns how the hub names the parts of every fused tensor; empty without experts.

    Raises:
        ExportError: it keeps them fused, which the schema has no linears for.
    """
    fused = [f"{path}.{leaf}" for path in fused_experts(model) for leaf in (FIRST, LAST)]
    try:
        return expert_names(model, fused)
    except ModelError as error:
        raise ExportError(f"{error}: keep the run, and serve it with qvlm serve") from error


def split_path(path: str, parts: Parts) -> tuple[str, ...]:
    """Paths of the linears that an expert's linear becomes; of any other linear, itself."""
    match = _EXPERT.fullmatch(path)
    if match is None:
        return (path,)
    leaves = (_leaf(name) for name in parts[f"{match[1]}.{match[3]}"])
    return tuple(f"{match[1]}.{match[2]}.{leaf}" for leaf in leaves)


def hub_paths(parts: Parts) -> dict[str, str]:
    """Path of a part, `*` for the expert -> its path on the hub."""
    return {
        f"{fused.rpartition('.')[0]}.*.{_leaf(name)}": name.removesuffix(".weight")
        for fused, names in parts.items()
        for name in names
    }


def expert_sizes(model: Any, parts: Parts) -> dict[str, tuple[int, int]]:
    """Path of every expert's linear -> its outputs and inputs."""
    found = {}
    for fused, names in parts.items():
        experts, rows, columns = model.get_parameter(fused).shape
        root = fused.rpartition(".")[0]
        for number in range(experts):
            for name in names:
                found[f"{root}.{number}.{_leaf(name)}"] = (rows // len(names), columns)
    return found


def fused_of(path: str, parts: Parts) -> str | None:
    """The fused tensor that holds an expert's linear; None of any other."""
    match = _EXPERT.fullmatch(path)
    if match is None:
        return None
    for fused, names in parts.items():
        if fused.rpartition(".")[0] == match[1] and match[3] in map(_leaf, names):
            return fused
    return None


def on_hub(path: str, paths: Mapping[str, str]) -> str | None:
    """The hub's path of an expert's linear; None of any other."""
    match = _EXPERT.fullmatch(path)
    if match is None:
        return None
    found = paths.get(f"{match[1]}.*.{match[3]}")
    return None if found is None else found.replace("*", match[2])


def paths_on_hub(model: Any, paths: Iterable[str], parts: Parts) -> dict[str, str]:
    """Module path of a linear, experts taken apart -> its path on the hub."""
    experts = hub_paths(parts)
    found = {path: on_hub(path, experts) for path in paths}
    others = hub_names(model, [f"{path}.weight" for path, hub in found.items() if hub is None])
    return {path: hub or others[f"{path}.weight"][: -len(".weight")] for path, hub in found.items()}


def with_split_experts(index: CheckpointIndex, parts: Parts) -> CheckpointIndex:
    """The index with a layer per expert and projection.

    Raises:
        ExportError: Transformers would not read them as they were asked for.
    """
    if not parts:
        return index
    experts = [layer for layer in index.layers if _EXPERT.fullmatch(layer.path)]
    _check_alike(experts, index)
    layers: list[QuantizedLayer] = []
    for layer in index.layers:
        paths = split_path(layer.path, parts)
        rows = layer.out_features // len(paths)
        layers += [layer.model_copy(update={"path": one, "out_features": rows}) for one in paths]
    return index.model_copy(update={"layers": tuple(layers)})


def _check_alike(experts: Iterable[QuantizedLayer], index: CheckpointIndex) -> None:
    kept = [path for path in index.skipped if _EXPERT.fullmatch(path.removesuffix(".weight"))]
    if kept:
        raise ExportError(
            f"'{kept[0]}' stays in floating point, and Transformers loads packed experts only: "
            "quantize all experts"
        )
    schemes = []
    for layer in experts:
        scheme = scheme_of(layer)
        if scheme["format"] != PACKED or scheme["input_activations"] is not None:
            raise ExportError(
                f"'{layer.path}' is an expert with quantized activations, which Transformers "
                "leaves in floating point and does not say so: quantize with --recipe "
                "w4a16-symmetric, or --set language.activations.bits=16"
            )
        if scheme not in schemes:
            schemes.append(scheme)
    if len(schemes) > 1:
        raise ExportError(
            "the experts have several schemes, of which Transformers knows one: quantize with a "
            "--set language.weights.group_size that is smaller than all their widths and divides "
            "them"
        )


def _leaf(name: str) -> str:
    return name.removesuffix(".weight").rpartition(".")[2]
