"""Resolve every linear of a checkpoint by vLLM 0.32's rules, which are not Transformers'.

vLLM knows layers by other names, fuses q/k/v and gate/up, matches expressions from the start of the
name, and compares anything else for equality or, without a dot, with the class name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qvlm.export.standard.patterns import matches

_NEW_LLAVA = {
    "model.language_model.": "language_model.model.",
    "model.vision_tower.": "vision_tower.",
    "model.multi_modal_projector.": "multi_modal_projector.",
    "lm_head.": "language_model.lm_head.",
}
_QWEN = {
    "model.language_model.": "language_model.model.",
    "model.visual.": "visual.",
    "lm_head.": "language_model.lm_head.",
}


@dataclass(frozen=True)
class ServerNames:
    """How vLLM's model of an architecture names its layers.

    Attributes:
        prefixes: of a name on the hub, or of an entry of the config -> what vLLM puts in its place.
        plain: prefix in vLLM of linears that take no quantized weights -> the override of a recipe
            that leaves them alone.
    """

    prefixes: Mapping[str, str]
    plain: Mapping[str, str] = field(default_factory=dict)


_PROJECTOR = {"multi_modal_projector.": "projector=null"}
KNOWN = {
    "gemma3": ServerNames(_NEW_LLAVA),
    "idefics3": ServerNames({}),
    # Of its vision tower, the attention.
    "internvl": ServerNames(_NEW_LLAVA, plain={**_PROJECTOR, "vision_tower.": "vision=null"}),
    "llava": ServerNames(_NEW_LLAVA),
    "llava_next": ServerNames(_NEW_LLAVA),
    "llava_onevision": ServerNames(_NEW_LLAVA, plain=_PROJECTOR),
    "paligemma": ServerNames(_NEW_LLAVA, plain=_PROJECTOR),
    "qwen2_5_vl": ServerNames({**_QWEN, "model.": "language_model.model."}),
    "qwen2_vl": ServerNames({**_QWEN, "model.": "language_model.model."}),
    "qwen3_vl": ServerNames(_QWEN),
    "smolvlm": ServerNames({}),
}
"""Model types that vLLM 0.32 has models of, and its names (`benchmarks/serving/names.py`)."""
UNKNOWN = {
    "aya_vision": "vLLM dropped its model of it after 0.24 and runs Transformers' in its place",
    "idefics": "vLLM has no model of it and cannot run Transformers', whose layers attend twice",
    "mllama": "vLLM dropped its model of it after 0.10 and runs Transformers' in its place",
}
"""Model types that vLLM 0.32 has none of, in words."""
_FOREIGN_TEXT = ("phi",)
"""Language models of LLaVA that vLLM runs through Transformers, under names without the tower's."""
FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
_KEPT = "floating point"


def reason_unknown(config: Any) -> str | None:
    """Why vLLM has no names of its own for a model, or None where it has.

    Args:
        config: of Transformers.
    """
    if config.model_type not in KNOWN:
        return UNKNOWN.get(config.model_type, f"vLLM's names of {config.model_type} are not known")
    text = getattr(getattr(config, "text_config", None), "model_type", None)
    if text in _FOREIGN_TEXT:
        return f"vLLM runs {text} in it through Transformers, under names that no expression finds"
    return None


def misread(
    names: ServerNames,
    raw: Mapping[str, Any],
    hub: Mapping[str, str],
    quantized: Mapping[str, str],
    kept: Sequence[str],
) -> list[str]:
    """Returns what vLLM would take for something else, in words; empty where all is well.

    Args:
        names: of the architecture in vLLM.
        raw: `quantization_config` as written.
        hub: module path -> path on the hub.
        quantized: module path -> what its scheme must be: equal texts, equal schemes.
        kept: module paths of the other linears.
    """
    entries = [_mapped(entry, names) for entry in raw.get("ignore") or ()]
    groups = {
        _mapped(target, names): name
        for name, group in raw["config_groups"].items()
        for target in group["targets"]
    }
    wanted = {**quantized, **dict.fromkeys(kept, _KEPT)}
    there = {path: name_in_vllm(hub[path], names) for path in wanted}
    found = {path: _resolve(name, entries, groups) for path, name in there.items()}
    return [*_plain(names, there, quantized), *_wrong(wanted, found), *_split_groups(wanted)]


def name_in_vllm(path: str, names: ServerNames) -> str:
    """The name in vLLM of a linear, which may be fused with others there.

    Args:
        path: on the hub.
        names: of the architecture.
    """
    return _mapped(f"{path}.weight", names).removesuffix(".weight")


def _plain(names: ServerNames, there: Mapping[str, str], quantized: Mapping[str, str]) -> list[str]:
    """Quantized linears where vLLM builds ones that cannot be."""
    hit = {
        override: path
        for path in reversed(list(quantized))
        for prefix, override in names.plain.items()
        if there[path].startswith(prefix)
    }
    if not hit:
        return []
    overrides = " ".join(f"--set {override}" for override in sorted(hit))
    return [
        f"vLLM takes no quantized weights in '{min(hit.values())}' and stops while it loads: "
        f"quantize with {overrides}"
    ]


def _resolve(name: str, ignore: Sequence[str], groups: Mapping[str, str]) -> str:
    """The group of a layer by its name in vLLM, or that it stays as it is."""
    kind = "ParallelLMHead" if name.endswith("lm_head") else "Linear"
    if any(matches(entry, name) for entry in ignore):
        return _KEPT
    for target, group in groups.items():
        if matches(target, name):
            return group
    for target, group in groups.items():
        if not target.startswith("re:") and target in kind:
            return group
    return _KEPT


def _wrong(wanted: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Layers whose group is not that of the others of their scheme."""
    groups: dict[str, str] = {}
    wrong = []
    for path, scheme in wanted.items():
        expected = _KEPT if scheme == _KEPT else groups.setdefault(scheme, found[path])
        if found[path] != expected or (scheme != _KEPT and found[path] == _KEPT):
            wrong.append(path)
    if not wrong:
        return []
    first = wrong[0]
    return [
        f"vLLM would take {len(wrong)} linears, first '{first}', for {found[first]} instead of "
        f"{wanted[first]}: name it by an expression (re:.*{first.rpartition('.')[2]}) in "
        "quantization_config"
    ]


def _split_groups(wanted: Mapping[str, str]) -> list[str]:
    """Linears that vLLM fuses but that are not quantized alike."""
    for path in wanted:
        parent, _, tail = path.rpartition(".")
        for parts in FUSED.values():
            paths = [f"{parent}.{part}" for part in parts]
            if tail == parts[0] and len({wanted.get(one) for one in paths}) > 1:
                return [f"vLLM fuses {', '.join(parts)} of '{parent}', which are not alike"]
    return []


def _mapped(entry: str, names: ServerNames) -> str:
    """An entry or a tensor's name as vLLM rewrites it: all prefixes, one after the other."""
    if entry.startswith("re:") or "." not in entry:
        return entry
    for prefix, new in names.prefixes.items():
        if entry.startswith(prefix):
            entry = new + entry.removeprefix(prefix)
    return entry
