"""Run a layer of the quantized model and gather the second moments of what its sites read."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn

from qvlm.artefacts import Site, Tower
from qvlm.models.replay import TowerInput, run_layer
from qvlm.numerics.hessian import Hessian
from qvlm.runtime import SimulatedLinear
from qvlm.search.install import Installer


@dataclass
class TowerRun:
    """A tower with what it received, batch by batch.

    Attributes:
        installer: the model, its sites quantized.
        tower: which tower.
        calls: per batch, the arguments of its layers.
        weights: per batch, [samples, positions] float, how much a position of the layer at hand
            counts in a Hessian (0 = padding).
        layer_forwards: layers run over all batches.
        hessian_seconds: time spent on Hessians.
    """

    installer: Installer
    tower: Tower
    calls: Sequence[TowerInput]
    weights: Sequence[torch.Tensor] = ()
    layer_forwards: int = 0
    hessian_seconds: float = field(default=0.0)

    def forward(self, layer: int, hidden: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Runs a layer on the hidden states of every batch."""
        self.layer_forwards += 1
        return [
            run_layer(self.installer.model, self.tower, layer, call, state)
            for call, state in zip(self.calls, hidden, strict=True)
        ]

    def hessians(
        self,
        layer: int,
        hidden: Sequence[torch.Tensor],
        sites: Sequence[Site],
        exact: list[torch.Tensor] | None = None,
    ) -> dict[str, Hessian]:
        """Site name -> H of what the linears of the site multiply in a layer.

        Args:
            layer: of the tower.
            hidden: per batch, its input.
            sites: some of the layer's.
            exact: per batch, its input on the full-precision path, for Hessians that know what
                their inputs lack; replaced by the layer's output on that path.
        """
        model, hessians = self.installer.model, {s.name: Hessian(s.channels) for s in sites}
        self.layer_forwards += 1 if exact is None else 2
        for batch, call in enumerate(self.calls):
            wanted: dict[str, torch.Tensor] = {}
            if exact is not None:
                layer_sites = self.installer.model_map.sites_of(self.tower.name, layer)
                keepers = {site.linears[0]: _keeper(wanted, site.name) for site in sites}
                with self.installer.exact(layer_sites), _pre_hooks(model, keepers):
                    exact[batch] = run_layer(model, self.tower, layer, call, exact[batch])
            hooks = {
                site.linears[0]: self._adder(hessians[site.name], batch, wanted.get(site.name))
                for site in sites
            }
            with _pre_hooks(model, hooks):
                run_layer(model, self.tower, layer, call, hidden[batch])
        return hessians

    def _adder(self, hessian: Hessian, batch: int, exact: torch.Tensor | None) -> Any:
        weights, valid = self.weights[batch], self.calls[batch].valid
        keep = torch.ones_like(weights, dtype=torch.bool) if valid is None else valid

        def hook(linear: nn.Module, args: tuple[Any, ...]) -> None:
            start = time.perf_counter()
            linear = cast(SimulatedLinear, linear)
            target = None if exact is None else linear.unquantized(exact[keep])
            hessian.update(linear.multiplied(args[0])[keep], weights[keep], target)
            self.hessian_seconds += time.perf_counter() - start

        return hook


def _keeper(kept: dict[str, torch.Tensor], name: str) -> Any:
    def hook(_linear: nn.Module, args: tuple[Any, ...]) -> None:
        kept[name] = args[0]

    return hook


@contextmanager
def _pre_hooks(model: nn.Module, hooks: Mapping[str, Any]) -> Iterator[None]:
    handles = [
        model.get_submodule(path).register_forward_pre_hook(hook) for path, hook in hooks.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
