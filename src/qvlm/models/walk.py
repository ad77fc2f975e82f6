"""Walk through a tower layer by layer, all batches at each layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import nn

from qvlm.artefacts import Tower
from qvlm.artefacts.calibration import Batch
from qvlm.models.replay import TowerInput, catch_tower

HIDDEN = "hidden"
"""Name, in a row, of a hidden state [samples, positions, channels]."""


def caught_rows(
    model: nn.Module, tower: Tower, batches: Sequence[Batch], calls: dict[int, TowerInput]
) -> Iterator[Mapping[str, torch.Tensor]]:
    """Yields what the first layer receives, batch by batch, and fills `calls`.

    Args:
        model: the model as it is.
        tower: which tower.
        batches: those that do not reach the tower are left out.
        calls: batch index -> what the tower receives beside the hidden state, of which only the
            shape is kept.
    """
    for index, batch in enumerate(batches):
        call = catch_tower(model, tower, batch)
        if call is not None:
            calls[index] = replace(call, hidden=call.hidden.to("meta"))
            yield {HIDDEN: call.hidden}
