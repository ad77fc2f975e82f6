"""What an architecture's adapter answers, and the tables that most of them share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from torch import nn

from qvlm.artefacts import Site, Tower
from qvlm.artefacts.layout import TowerName
from qvlm.errors import ModelError

Roles = Mapping[str, tuple[str, ...]]
"""Role of a site -> paths, inside a layer, of the linears that read it; in execution order."""

LLAMA_LAYER: Roles = {
    "attn_in": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attn_out": ("self_attn.o_proj",),
    "mlp_in": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp_out": ("mlp.down_proj",),
}
CLIP_LAYER: Roles = {
    "attn_in": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attn_out": ("self_attn.out_proj",),
    "mlp_in": ("mlp.fc1",),
    "mlp_out": ("mlp.fc2",),
}


class Adapter(Protocol):
    """Structure of one architecture; an adapter declares and never computes."""

    def towers(self, model: nn.Module) -> tuple[Tower, ...]:
        """Stacks of layers, in the order in which they run."""

    def roles(self, tower: TowerName) -> Roles:
        """Sites of a layer of that tower; the path "" is the layer itself."""

    def unused_layers(self, model: nn.Module) -> Mapping[str, str]:
        """Module paths of layers whose output the model never reads, with the reason."""


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
        )


def linear_at(model: nn.Module, path: str) -> nn.Linear:
    """Returns the linear at a module path, or raises ModelError naming the path."""
    try:
        module = model.get_submodule(path)
    except AttributeError as error:
        raise ModelError(f"the model has no layer '{path}': its layout is not supported") from error
    if not isinstance(module, nn.Linear):
        raise ModelError(f"'{path}' is a {type(module).__name__}, not a linear layer")
    return module
