"""What an architecture's adapter answers, and the sites that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import nn

from qvlm.artefacts import Site, Tower
from qvlm.artefacts.layout import TowerName
from qvlm.errors import ModelError
from qvlm.models.kinds import Roles, expert_of, linears_of, one_site_each, roles_of
from qvlm.models.stacks import stack_under


class Adapter(Protocol):
    """Structure of one architecture; an adapter declares and never computes."""

    def towers(self, model: nn.Module) -> tuple[Tower, ...]:
        """Stacks of layers, in the order in which they run."""

    def roles(self, model: nn.Module, tower: Tower, path: str) -> Roles:
        """Sites of the layer at `path`; the path "" of a linear is the layer itself."""

    def unused_layers(self, model: nn.Module) -> Mapping[str, str]:
        """Module paths of layers whose output the model never reads, with the reason."""


@dataclass(frozen=True)
class Part:
    """One tower of an architecture.

    Attributes:
        tower: its name.
        layers: model -> paths of its layers in execution order; none where the model has no
            such tower.
        is_stack: layers of known kinds; otherwise any module, with a site for every linear.
    """

    tower: TowerName
    layers: Callable[[nn.Module], tuple[str, ...]]
    is_stack: bool = True


def stack(tower: TowerName, root: str) -> Part:
    """A tower whose layers are the one list of layers below the module at `root`."""
    return Part(tower, lambda model: stack_under(model, root))


def module(tower: TowerName, *paths: str) -> Part:
    """A tower of single modules, for instance a projector; those that are missing do not count."""

    def layers(model: nn.Module) -> tuple[str, ...]:
        known = dict(model.named_modules())
        return tuple(path for path in paths if linears_of(known.get(path, nn.Identity())))

    return Part(tower, layers, is_stack=False)


HEAD = module("head", "lm_head")


def nothing_unused(_model: nn.Module) -> Mapping[str, str]:
    """All layers are read."""
    return {}


@dataclass(frozen=True)
class Declaration:
    """An adapter that says where the towers are and leaves the rest to the tables of `kinds`.

    Attributes:
        parts: towers in execution order.
        unused: paths of layers whose output the model never reads, with the reason.
    """

    parts: tuple[Part, ...]
    unused: Callable[[nn.Module], Mapping[str, str]] = nothing_unused

    def towers(self, model: nn.Module) -> tuple[Tower, ...]:
        """The towers that the model has, without unused layers."""
        unused = self.unused(model)
        found = ((part.tower, part.layers(model)) for part in self.parts)
        return tuple(
            Tower(name=name, layers=tuple(path for path in layers if path not in unused))
            for name, layers in found
            if layers
        )

    def roles(self, model: nn.Module, tower: Tower, path: str) -> Roles:
        """Sites of a layer, from its kind.

        Raises:
            ModelError: the layer of a stack is of no known kind.
        """
        if tower.name == "head":
            return {"head_in": ("",)}
        layer = model.get_submodule(path)
        roles = roles_of(layer)
        if roles is not None:
            return roles
        if next(part for part in self.parts if part.tower == tower.name).is_stack:
            raise ModelError(
                f"layer '{path}' is of no kind that qvlm knows: its linears are "
                f"{', '.join(linears_of(layer)) or 'none'}"
            )
        return one_site_each(layer)

    def unused_layers(self, model: nn.Module) -> Mapping[str, str]:
        """Module paths of layers whose output the model never reads, with the reason."""
        return self.unused(model)


def sites_of_layer(
    model: nn.Module, tower: TowerName, layer: int, path: str, roles: Roles
) -> Iterator[Site]:
    """Yields the sites of one layer.

    Raises:
        ModelError: the layer lacks a linear that its role needs, or linears that share an
            input disagree on its width.
    """
    for role, names in roles.items():
        paths = tuple(f"{path}.{name}" if name else path for name in names)
        widths = {linear_at(model, linear).in_features for linear in paths}
        if len(widths) != 1:
            raise ModelError(f"linears {', '.join(paths)} share an input but differ in width")
        yield Site(
            name=f"{tower}.{layer}.{role}",
            tower=tower,
            layer=layer,
            role=role,
            linears=paths,
            channels=widths.pop(),
            expert=expert_of(role),
        )


def linear_at(model: nn.Module, path: str) -> nn.Linear:
    """Returns the linear at a module path, or raises ModelError naming the path."""
    try:
        found = model.get_submodule(path)
    except AttributeError as error:
        raise ModelError(f"the model has no layer '{path}': its layout is not supported") from error
    if not isinstance(found, nn.Linear):
        raise ModelError(f"'{path}' is a {type(found).__name__}, not a linear layer")
    return found
