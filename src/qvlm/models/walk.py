"""Walk through a tower layer by layer, all batches at each layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from torch import nn

from qvlm.artefacts import Tower
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.steps import Row
from qvlm.models.replay import TowerInput, catch_tower

HIDDEN = "hidden"
"""Name, in a row, of a hidden state [samples, positions, channels]."""


def caught_rows(
    model: nn.Module, tower: Tower, batches: Mapping[int, Batch], calls: dict[int, TowerInput]
) -> Iterator[tuple[int, Row]]:
    """Yields what the first layer receives, with the index of its batch, and fills `calls`.

    Args:
        model: the model as it is.
        tower: which tower.
        batches: by their index; those that do not reach the tower are left out.
        calls: batch index -> what the tower receives beside the hidden state, of which only the
            shape is kept.
    """
    for index, batch in batches.items():
        call = catch_tower(model, tower, batch)
        if call is not None:
            calls[index] = replace(call, hidden=call.hidden.to("meta"))
            yield index, {HIDDEN: call.hidden}
