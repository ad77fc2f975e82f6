"""What joint search gains on two consecutive layers alone.

The whole model's DED mixes what happened in all layers before, the vision tower included. Here
both searches start from the full-precision path's input, which is where both proxies of the
dependency are measured.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from torch import nn

from qvlm.analysis.errors import Values, errors_by_sample, valid_positions
from qvlm.artefacts import Site, Tower
from qvlm.models.replay import TowerInput, run_layer
from qvlm.search import Installer
from qvlm.search.block import BlockLoss
from qvlm.search.run import start_choice
from qvlm.search.strategies import coordinate


@torch.no_grad()
def pair_ded(
    installer: Installer,
    tower: Tower,
    layer: int,
    inputs: Sequence[TowerInput],
) -> Values:
    """DED of layers k and k+1 alone: error after searching one, then the other, minus jointly.

    Both are coordinate searches of the normalized error from the recipe's start, every token
    alike, with the recipe's sweeps and no budget, so that they differ in the blocks alone.

    Args:
        installer: of the full-precision model, which is left so.
        tower: the tower.
        layer: k.
        inputs: what the tower received, per batch.
    """
    states = _states(installer.model, tower, inputs, layer + 2)
    hidden, between, targets = deque(states, maxlen=3)
    first = _search(installer, tower, inputs, (layer, layer + 1), hidden, between)
    apart = _search(installer, tower, inputs, (layer + 1, layer + 2), first, targets)
    installer.restore()
    jointly = _search(installer, tower, inputs, (layer, layer + 2), hidden, targets)
    installer.restore()
    errors = [errors_by_sample(inputs, outputs, targets) for outputs in (apart, jointly)]
    return tuple(a - b for a, b in zip(*errors, strict=True))


def _search(
    installer: Installer,
    tower: Tower,
    inputs: Sequence[TowerInput],
    block: tuple[int, int],
    hidden: list[torch.Tensor],
    targets: list[torch.Tensor],
) -> list[torch.Tensor]:
    """Searches the layers of a block together; returns its outputs, and leaves it quantized."""
    start = start_choice(installer.stats, installer.recipe.search.start)
    static: list[Site] = []
    for site in installer.model_map.sites_of(tower.name):
        if block[0] <= site.layer < block[1]:
            if site.name in start:
                static.append(site)
            else:
                installer.install(site, None)
    loss = BlockLoss(
        sites=static,
        start=block[0],
        stop=block[1],
        inputs=hidden,
        targets=targets,
        weights=[valid_positions(call).float() for call in inputs],
        run_layer=lambda index, batch, x: run_layer(
            installer.model, tower, index, inputs[batch], x
        ),
        install=installer.install,
        objective="normalized",
    )
    choice, _ = coordinate(
        tuple(start[site.name] for site in static),
        len(installer.stats.percentiles),
        loss,
        max_sweeps=installer.recipe.search.max_sweeps,
        may_continue=lambda: True,
    )
    return loss.outputs(choice)


def _states(
    model: nn.Module, tower: Tower, inputs: Sequence[TowerInput], layers: int
) -> Iterator[list[torch.Tensor]]:
    """Yields the full-precision path's hidden state in front of every layer and after the last."""
    step = partial(run_layer, model, tower)
    hidden = [call.hidden for call in inputs]
    yield hidden
    for layer in range(layers):
        hidden = [step(layer, call, x) for call, x in zip(inputs, hidden, strict=True)]
        yield hidden
