"""Regular expressions for layers, good for the names of Transformers and of vLLM alike.

They know a layer by different prefixes (`model.vision_tower.encoder` is vLLM's
`vision_tower.vision_model.encoder`) and both match from the start, so an expression names the
tower's module and the tail of the path. Lists of exact names would match nothing in one of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

_FUSED = {
    "qkv_proj": ("q_proj", "k_proj", "v_proj"),
    "gate_up_proj": ("gate_proj", "up_proj"),
}
"""Linears that servers fuse; a tower may be matched by either name."""


def patterns_for(wanted: Iterable[str], others: Iterable[str]) -> list[str]:
    """Returns `re:` expressions that match all of `wanted` and none of `others`.

    As few as the names allow: by the last name of a path where all of a tower's layers agree,
    else with the numbers of the layers.

    Args:
        wanted: module paths of linears in Transformers 5.
        others: module paths of all other linears of the model.
    """
    chosen, left = _by_tail(wanted), _by_tail(others)
    found: dict[str, set[str]] = defaultdict(set)
    for (root, tail), paths in chosen.items():
        if (root, tail) not in left:
            found[root].update(_tail(path) for path in paths)
            continue
        for path in paths:
            found[root].add(_numbered(path, tail))
    return [_pattern(root, tails) for root, tails in found.items()]


def root_of(path: str) -> str:
    """The module that holds a layer's tower: `vision_tower`, `language_model`, `lm_head`."""
    return path.removeprefix("model.").partition(".")[0]


def matches(pattern: str, name: str) -> bool:
    """Whether an entry of `targets` or `ignore` names a module: by expression, or exactly."""
    if pattern.startswith("re:"):
        return re.match(pattern[3:], name) is not None
    return pattern == name


def _by_tail(paths: Iterable[str]) -> dict[tuple[str, str], list[str]]:
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for path in paths:
        found[root_of(path), path.rpartition(".")[2]].append(path)
    return found


def _tail(path: str) -> str:
    """The path's last name; of an expert's linear with `experts`, which servers look for."""
    match = re.search(r"\.experts\.\d+\.(\w+)$", path)
    return f"experts.*.{match[1]}" if match else path.rpartition(".")[2]


def _numbered(path: str, tail: str) -> str:
    """The path from its last number on; of a path without one, its last two names."""
    match = re.search(r"\.(\w+\.\d+\.(?!.*\.\d+\.).*)$", path)
    return match[1] if match else ".".join(path.split(".")[-2:]) or tail


def _pattern(root: str, tails: set[str]) -> str:
    if tails == {root}:
        return f"re:(.*[.])?{root}$"
    fused = {name for name, parts in _FUSED.items() if tails.issuperset(parts)}
    pieces = (re.escape(tail).replace("\\.", "[.]") for tail in tails | fused)
    names = "|".join(sorted(piece.replace("\\*", "[0-9]+") for piece in pieces))
    return f"re:(.*[.])?{root}[.](.*[.])?({names})$"
