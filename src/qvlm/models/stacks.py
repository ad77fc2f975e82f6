"""Find the stacks of layers in a module tree."""

from __future__ import annotations

from torch import nn

from qvlm.errors import ModelError
from qvlm.models.kinds import roles_of


def stack_under(model: nn.Module, root: str) -> tuple[str, ...]:
    """Returns the paths of the layers of the one stack below the module at `root`.

    Raises:
        ModelError: there is no such module, no stack below it, or more than one.
    """
    if root not in dict(model.named_modules()):
        raise ModelError(f"the model has no module '{root}': its layout is not supported")
    found = stacks_in(model, root)
    if len(found) != 1:
        kind = type(model.get_submodule(root)).__name__
        names = f": {', '.join(found)}" if found else ""
        raise ModelError(
            f"'{root}' ({kind}) has {len(found)} stacks of layers of known kinds instead of one"
            f"{names}: this kind of tower is not supported"
        )
    return next(iter(found.values()))


def stacks_in(model: nn.Module, root: str = "") -> dict[str, tuple[str, ...]]:
    """Path of a list of layers -> paths of its layers, for all lists below the module at `root`.

    Every member of such a list is a layer of a known kind (see `kinds`).
    """
    found = {}
    for name, part in model.get_submodule(root).named_modules():
        if isinstance(part, nn.ModuleList) and len(part) and all(map(roles_of, part)):
            path = ".".join(filter(None, (root, name)))
            found[path] = tuple(f"{path}.{index}" for index in range(len(part)))
    return found
