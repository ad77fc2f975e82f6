"""Resolve every linear of a checkpoint by vLLM 0.32's rules, which are not Transformers'.

vLLM knows layers by other names, fuses q/k/v and gate/up, matches expressions from the start of the
name, and compares anything else for equality or, without a dot, with the class name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qvlm.export.standard.patterns import matches
from qvlm.models.hub_names import hub_names

CHECKED = ("llava", "llava_next")
"""Model types whose layers vLLM names as the hub does, but for the prefixes below."""
_PREFIXES = {
    "model.language_model.": "language_model.model.",
    "model.vision_tower.": "vision_tower.",
    "model.multi_modal_projector.": "multi_modal_projector.",
    "lm_head.": "language_model.lm_head.",
}
"""What vLLM puts in the place of a prefix of an entry without an expression."""
_FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}
_KEPT = "floating point"


def misread(
    model: Any, raw: Mapping[str, Any], quantized: Mapping[str, str], kept: Sequence[str]
) -> list[str]:
    """Returns what vLLM would take for something else, in words; empty where all is well.

    Args:
        model: of Transformers, may be without memory.
        raw: `quantization_config` as written.
        quantized: module path -> what its scheme must be: equal texts, equal schemes.
        kept: module paths of the other linears.
    """
    entries = [_mapped(entry) for entry in raw.get("ignore") or ()]
    groups = {
        _mapped(target): name
        for name, group in raw["config_groups"].items()
        for target in group["targets"]
    }
    wanted = {**quantized, **dict.fromkeys(kept, _KEPT)}
    names = hub_names(model, [f"{path}.weight" for path in wanted])
    found: dict[str, str] = {}
    for path in wanted:
        name = names[f"{path}.weight"].removesuffix(".weight")
        found[path] = _resolve(name, entries, groups)
    return [*_wrong(wanted, found), *_split_groups(wanted)]


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
        for parts in _FUSED.values():
            paths = [f"{parent}.{part}" for part in parts]
            if tail == parts[0] and len({wanted.get(one) for one in paths}) > 1:
                return [f"vLLM fuses {', '.join(parts)} of '{parent}', which are not alike"]
    return []


def _mapped(entry: str) -> str:
    if entry.startswith("re:") or "." not in entry:
        return entry
    for prefix, new in _PREFIXES.items():
        if entry.startswith(prefix):
            return new + entry.removeprefix(prefix)
    return entry
