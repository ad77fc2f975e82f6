"""Run a layer of the quantized model and gather the second moments of what its sites read."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn

from qvlm.artefacts import Site, Tower
from qvlm.artefacts.layout import IMAGE_STATES
from qvlm.artefacts.steps import Row, Rows
from qvlm.models.place import device_of
from qvlm.models.positions import at_site
from qvlm.models.replay import EnoughError, TowerInput, run_layer
from qvlm.models.walk import HIDDEN
from qvlm.numerics.hessian import Hessian
from qvlm.runtime import SimulatedLinear
from qvlm.search.sums import HessianSums
from qvlm.search.weights import TokenWeights
from qvlm.workers import ALONE, Workers


@dataclass
class TowerRun:
    """A tower with what it received, batch by batch.

    Attributes:
        model: the model, its sites quantized.
        tower: which tower.
        calls: index of a batch of this process -> the arguments of its layers, and the shape of
            the hidden state.
        token_weights: how much a position counts in a Hessian.
        workers: the processes that share the batches.
        batches: of all processes.
        layer_forwards: layers run over all batches.
        hessian_seconds: time spent on Hessians.
    """

    model: nn.Module
    tower: Tower
    calls: Mapping[int, TowerInput]
    token_weights: TokenWeights
    batches: int
    workers: Workers = ALONE
    layer_forwards: int = 0
    hessian_seconds: float = field(default=0.0)

    def forward(self, layer: int, inputs: Rows) -> Iterator[tuple[int, Row]]:
        """Runs a layer on what every batch gives it, and yields what it gives the next."""
        self.layer_forwards += 1
        for index, call in self.calls.items():
            received = inputs[index][HIDDEN]
            yield index, {HIDDEN: run_layer(self.model, self.tower, layer, call, received)}

    def hessians(self, layer: int, inputs: Rows, sites: Sequence[Site]) -> dict[str, Hessian]:
        """Site name -> H of what the linears of the site multiply in a layer.

        Of several processes each returns some of the sites.

        Args:
            layer: which layer.
            inputs: per batch, what it receives.
            sites: of that layer, in execution order; what follows the last one is not run.
        """
        sums = HessianSums(sites, self.workers, device_of(self.model))
        self.layer_forwards += 1
        shapes = {batch: call.hidden for batch, call in self.calls.items()}
        after = self.token_weights.after(self.tower, layer, shapes)
        weights = dict(zip(self.calls, after, strict=True))
        # One batch of every process at a time; some may not reach the tower.
        for index in range(self.workers.rank, self.batches + self.workers.rank, self.workers.count):
            hessians = sums.of_batch()
            call = self.calls.get(index)
            if call is not None:
                hooks = {
                    site.linears[0]: self._hook(
                        site, hessians[site.name], call.valid, weights[index], site is sites[-1]
                    )
                    for site in sites
                }
                with _pre_hooks(self.model, hooks), suppress(EnoughError):
                    run_layer(self.model, self.tower, layer, call, inputs[index][HIDDEN])
            sums.add(hessians)
        return sums.own()

    def _hook(
        self,
        site: Site,
        hessian: Hessian,
        valid: torch.Tensor | None,
        weights: torch.Tensor,
        stop: bool,
    ) -> Any:
        def hook(linear: nn.Module, args: tuple[Any, ...]) -> None:
            start = time.perf_counter()
            x = cast(SimulatedLinear, linear).multiplied(args[0])
            x = x.reshape(-1, x.shape[-1])
            hessian.update(*self._counted(site, x, valid, weights))
            self.hessian_seconds += time.perf_counter() - start
            if stop:
                raise EnoughError

        return hook

    def _counted(
        self, site: Site, x: torch.Tensor, valid: torch.Tensor | None, weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The rows of x that count, and how much; None where all count alike.

        Image states, and what a merger or a resampler reads inside, are other positions than
        those of the tower: they have no weights of their own.
        """
        if valid is not None and site.reads_tokens:
            keep = at_site(self.model, site, valid)
            return x[keep], at_site(self.model, site, weights)[keep]
        is_per_row = site.role != IMAGE_STATES and weights.numel() == len(x)
        return x, weights.flatten() if is_per_row else None


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
