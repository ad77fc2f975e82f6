"""An adapter derived from the module tree, for decoder-style LVLMs without one of their own.

It follows the names that such models share. Stacks are lists of layers under a usual name. The
one beside the token embeddings is the language model; the others are vision towers. Modules with
linears that are called a projector, a connector or the like are projectors. What it found is
told, tower by tower: read it before trusting the outcome.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from qvlm.artefacts import Tower
from qvlm.errors import ModelError
from qvlm.models.kinds import Roles, linears_of, one_site_each, roles_of

STACKS = ("layers", "layer", "blocks", "block", "resblocks", "h")
"""Names under which models keep their layers."""
PROJECTOR = re.compile(r"projector|projection|connector|merger|resampler|aligner|adapter")


class GenericAdapter:
    """Finds towers by the names and kinds of modules; a site per linear in unknown layers."""

    def towers(self, model: nn.Module) -> tuple[Tower, ...]:
        """Vision towers, projectors, language model, head; as far as there are any.

        Raises:
            ModelError: no stack of layers lies beside the token embeddings.
        """
        stacks = _stacks(model)
        language = _language(model, stacks)
        vision = [layers for path, layers in stacks.items() if path != language]
        head = _path_of(model, model.get_output_embeddings())  # type: ignore[operator]
        projectors = _projectors(model, {*stacks}, head)
        return (
            *_numbered("vision", vision),
            *_numbered("projector", [(path,) for path in projectors]),
            Tower(name="language", layers=stacks[language]),
            *([Tower(name="head", layers=(head,))] if head else []),
        )

    def roles(self, model: nn.Module, tower: Tower, path: str) -> Roles:
        """Sites of a layer: as its kind says, else one for every linear."""
        if tower.name == "head":
            return {"head_in": ("",)}
        layer = model.get_submodule(path)
        return roles_of(layer) or one_site_each(layer)

    def unused_layers(self, model: nn.Module) -> Mapping[str, str]:
        """None: the module tree does not tell."""
        return {}


ADAPTER = GenericAdapter()


def report(model: nn.Module, towers: tuple[Tower, ...]) -> list[str]:
    """One line per tower: where it is, and which linears share an input."""
    lines = []
    for tower in towers:
        kinds: dict[str, int] = {}
        for path in tower.layers:
            roles = ADAPTER.roles(model, tower, path)
            known = tower.name == "head" or roles_of(model.get_submodule(path)) is not None
            text = "; ".join(f"{role}: {', '.join(names)}" for role, names in roles.items())
            text += "" if known else " (unknown kind: no linears share an input)"
            kinds[text] = kinds.get(text, 0) + 1
        layers = "; ".join(f"{count} of [{text}]" for text, count in kinds.items())
        first, last = tower.layers[0], tower.layers[-1]
        where = first if first == last else f"{first} to {last}"
        lines.append(f"adapter generic: {tower.name} tower at {where}, {layers}")
    return lines


def _stacks(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Path of a list -> its layers; lists inside of layers do not count."""
    found: dict[str, tuple[str, ...]] = {}
    for path, part in model.named_modules():
        inside = any(path.startswith(f"{outer}.") for outer in found)
        is_list = isinstance(part, nn.ModuleList) and path.rpartition(".")[2] in STACKS
        layers = list(part.children())
        if is_list and layers and not inside and all(map(linears_of, layers)):
            found[path] = tuple(f"{path}.{name}" for name, _ in part.named_children())
    return found


def _language(model: Any, stacks: Mapping[str, tuple[str, ...]]) -> str:
    """Path of the list of layers that lies beside the token embeddings."""
    embeddings = _path_of(model, model.get_input_embeddings())
    parent = embeddings.rpartition(".")[0]
    beside = [path for path in stacks if path.rpartition(".")[0] == parent]
    if len(beside) != 1:
        raise ModelError(
            f"the generic adapter found {len(beside)} stacks of layers beside the token "
            f"embeddings '{embeddings}' instead of one; stacks of this model: "
            f"{', '.join(stacks) or 'none'}"
        )
    return beside[0]


def _projectors(model: nn.Module, stacks: set[str], head: str) -> list[str]:
    """Outermost modules with linears and a projector's name, outside of all stacks."""
    found: list[str] = []
    for path, part in model.named_modules():
        name = path.rpartition(".")[2]
        outside = not any(path.startswith(f"{other}.") for other in (*stacks, *found))
        if path != head and outside and PROJECTOR.search(name) and linears_of(part):
            members = list(part.named_children()) if isinstance(part, nn.ModuleList) else []
            found += [f"{path}.{member}" for member, _ in members] or [path]
    return found


def _numbered(kind: str, groups: list[tuple[str, ...]]) -> list[Tower]:
    """Towers of one kind; the last has its plain name, since it runs last."""
    last = len(groups) - 1
    return [
        Tower(name=kind if index == last else f"{kind}_{index}", layers=layers)
        for index, layers in enumerate(groups)
    ]


def _path_of(model: nn.Module, wanted: nn.Module | None) -> str:
    return next((path for path, part in model.named_modules() if part is wanted), "")
