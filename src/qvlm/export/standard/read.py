"""Read what a compressed-tensors checkpoint holds, whoever wrote it, and check it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from qvlm.artefacts.exported import STANDARD
from qvlm.errors import ArtefactError, ExportError
from qvlm.export.standard.entries import in_memory
from qvlm.export.standard.experts import Parts, expert_parts, expert_sizes, hub_paths
from qvlm.export.standard.files import Held, held_tensors
from qvlm.export.standard.layers import stored_layer
from qvlm.export.standard.patterns import root_of
from qvlm.export.stored import StoredLayer
from qvlm.models.hub_names import memory_names
from qvlm.runtime.empty import empty_model

PARTS = (
    "weight", "weight_packed", "weight_scale", "weight_shape", "weight_zero_point", "weight_g_idx",
    "input_scale", "input_zero_point",
)  # fmt: skip
"""Names of a quantized linear's tensors, beside its bias."""


@dataclass(frozen=True)
class StandardCheckpoint:
    """A compressed-tensors checkpoint, without its tensors.

    Attributes:
        directory: where it is.
        config: its `quantization_config`, as the library reads it, by names in memory.
        raw: the same as written.
        in_memory: the same with names of the files replaced by those that Transformers knows.
        misnamed: the entries that were replaced: Transformers alone would not understand them.
        layers: quantized linears.
        kept: module paths of the other linears.
        tensors: name in the files -> tensor.
        names: name in the files -> name in memory; of experts, as if they were not fused.
        model: its architecture, without memory.
        experts: what the fused tensors hold.
    """

    directory: Path
    config: Any
    raw: Mapping[str, Any]
    in_memory: Mapping[str, Any]
    misnamed: tuple[str, ...]
    layers: tuple[StoredLayer, ...]
    kept: tuple[str, ...]
    tensors: Mapping[str, Held]
    names: Mapping[str, str]
    model: Any
    experts: Parts


def is_standard(directory: Path) -> bool:
    """True where a directory's config.json names compressed-tensors."""
    return _raw_config(directory) is not None


def read_standard(directory: Path) -> StandardCheckpoint:
    """Reads config and headers and checks them against each other and the architecture.

    Raises:
        ArtefactError: the config is not of the schema, a file is missing or damaged, or a linear
            lacks a tensor or has one of a wrong shape or type.
    """
    raw = _raw_config(directory)
    if raw is None:
        raise ArtefactError(f"'{directory}' is no {STANDARD} checkpoint")
    _parsed(directory, raw)
    tensors = held_tensors(directory)
    model = empty_model(directory)
    experts = _experts(model)
    names = _names(model, tensors, hub_paths(experts))
    renamed, misnamed = in_memory(raw, _linears(model).keys(), names)
    config = _parsed(directory, renamed)
    sizes = {
        **{path: (part.out_features, part.in_features) for path, part in _linears(model).items()},
        **expert_sizes(model, experts),
    }
    schemes = _schemes(sizes, config)
    if not schemes:
        raise ArtefactError(f"the targets in '{directory / 'config.json'}' match no linear layer")
    by_path: dict[str, dict[str, tuple[str, Held]]] = {}
    for name, held in tensors.items():
        path, _, leaf = names[name].rpartition(".")
        by_path.setdefault(path, {})[leaf] = (name, held)
    layers = []
    for path, scheme in schemes.items():
        form = scheme.format or config.format
        form = str(getattr(form, "value", form))
        layers.append(
            stored_layer(path, root_of(path), sizes[path], scheme, form, by_path.get(path, {}))
        )
    kept = tuple(sorted(sizes.keys() - schemes.keys()))
    _check_kept(kept, by_path)
    return StandardCheckpoint(
        directory=directory,
        config=config,
        raw=raw,
        in_memory=renamed,
        misnamed=misnamed,
        layers=tuple(layers),
        kept=kept,
        tensors=tensors,
        names=names,
        model=model,
        experts=experts,
    )


def _raw_config(directory: Path) -> dict[str, Any] | None:
    try:
        values = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        raw = values["quantization_config"]
        return raw if raw["quant_method"] == STANDARD else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _parsed(directory: Path, raw: Mapping[str, Any]) -> Any:
    from compressed_tensors.quantization import QuantizationConfig
    from pydantic import ValidationError

    where = f"quantization_config in '{directory / 'config.json'}'"
    try:
        return QuantizationConfig.model_validate(dict(raw))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ArtefactError(f"{where} is not of the schema: {field}: {first['msg']}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ArtefactError(f"{where} is not of the schema: {error}") from error


def _linears(model: nn.Module) -> dict[str, Any]:
    return {path: part for path, part in model.named_modules() if isinstance(part, nn.Linear)}


def _experts(model: nn.Module) -> Parts:
    try:
        return expert_parts(model)
    except ExportError as error:
        raise ArtefactError(f"{error.__cause__}: qvlm cannot read it quantized") from error


def _names(
    model: nn.Module, tensors: Mapping[str, Held], experts: Mapping[str, str]
) -> dict[str, str]:
    """Name in the files -> name in memory; a linear's parts follow its weight."""
    roots = {hub: path for path, hub in experts.items()}
    weights, apart = {}, {}
    for name in tensors:
        path, _, leaf = name.rpartition(".")
        number = re.search(r"(?<=\.experts\.)\d+(?=\.)", path)
        if number and (root := roots.get(f"{path[: number.start()]}*{path[number.end() :]}")):
            apart[name] = f"{root.replace('*', number[0])}.{leaf}"
            continue
        weights[name] = f"{path}.weight" if leaf in PARTS else name
    found = memory_names(model, set(weights.values()))
    return apart | {
        name: f"{found[weight].rpartition('.')[0]}.{name.rpartition('.')[2]}"
        if weight != name
        else found[name]
        for name, weight in weights.items()
    }


def _schemes(paths: Iterable[str], config: Any) -> dict[str, Any]:
    """Path of every linear that Transformers would quantize -> its scheme."""
    from compressed_tensors.utils.match import is_match

    linear = nn.Linear(1, 1, device="meta")
    targets = {
        target: scheme for scheme in config.config_groups.values() for target in scheme.targets
    }
    found = {}
    for path in paths:
        if is_match(path, linear, targets, config.ignore or ()):
            target = next(one for one in targets if is_match(path, linear, one))
            found[path] = targets[target]
    return found


def _check_kept(kept: tuple[str, ...], by_path: Mapping[str, Mapping[str, Any]]) -> None:
    for path in kept:
        leaves = by_path.get(path, {})
        packed = sorted(leaves.keys() & {"weight_packed", "weight_scale"})
        if packed:
            raise ArtefactError(
                f"'{path}' has a tensor '{packed[0]}', but no target in config.json matches it: "
                "it would be loaded wrongly"
            )
