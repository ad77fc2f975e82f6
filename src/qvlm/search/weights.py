"""How much every position of a batch counts in the loss of a block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from qvlm.artefacts import Tower
from qvlm.artefacts.calibration import PADDING, Batch
from qvlm.artefacts.layout import TOKEN_TOWERS
from qvlm.models.place import device_of
from qvlm.search.sensitivity import FORWARD_EQUIVALENTS, Sensitivity
from qvlm.workers import ALONE, Workers

ANSWER = 3
"""Class, beside PADDING, TEXT and IMAGE, of positions whose next token is of the answer."""


class TokenWeights:
    """Weights of the positions that a tower runs on, by the recipe's `token_weights`.

    `uniform`: 1 for every position.
    `modality_balanced`: image tokens, text tokens and the positions that predict the answer have
    the same total over all batches, so that the many image tokens cannot outvote the few
    positions that the answer hangs on.
    `answer`: 1 where the next token is of the answer, else 0.
    `gradient`: the share of a position in the squared gradient of the answer loss at that depth
    of the full-precision model (see `Sensitivity`).

    Padding weighs nothing. The vision tower and the projector have no text or answer positions:
    there all kinds but `gradient` are uniform.
    """

    def __init__(
        self,
        kind: str,
        model: nn.Module,
        towers: Sequence[Tower],
        batches: Sequence[Batch],
        workers: Workers = ALONE,
    ) -> None:
        """Looks at the batches; `gradient` runs the model, which is in full precision.

        It runs on the batches of this process; for others there are no weights then.
        """
        self._device = device_of(model)
        by_gradient = kind == "gradient"
        own = workers.share(batches)
        self._sensitivity = Sensitivity(model, towers, own) if by_gradient else None
        self._tokens = [] if by_gradient else _class_weights(batches, kind)
        self.forward_equivalents = FORWARD_EQUIVALENTS if by_gradient else 0.0
        """What that cost."""

    def after(
        self, tower: Tower, layer: int, hidden: Mapping[int, torch.Tensor]
    ) -> list[torch.Tensor]:
        """Returns [samples, positions] float32 weights of the output of a layer, per batch.

        Args:
            tower: the layer's tower.
            layer: its index in the tower.
            hidden: batch index -> the tower's hidden state [samples, positions, channels].
        """
        if self._sensitivity is not None:
            return [self._sensitivity.weights(tower.name, layer, batch) for batch in hidden]
        if tower.name in TOKEN_TOWERS:
            return [self._tokens[batch] for batch in hidden]
        return [torch.ones(state.shape[:-1], device=self._device) for state in hidden.values()]


def _class_weights(batches: Sequence[Batch], kind: str) -> list[torch.Tensor]:
    """Per batch [samples, tokens] float32 weights that depend on what a token is."""
    classes = [_classes(batch) for batch in batches]
    if kind == "answer":
        return [(group == ANSWER).float() for group in classes]
    if kind == "uniform":
        return [(group != PADDING).float() for group in classes]
    counts = torch.zeros(4)
    for group in classes:
        counts += torch.bincount(group.flatten(), minlength=4).cpu()
    share = torch.where(counts > 0, counts.sum() / counts.clamp(min=1), 0.0)
    share[PADDING] = 0.0
    return [share.to(group.device)[group] for group in classes]


def _classes(batch: Batch) -> torch.Tensor:
    """[samples, tokens] int64: PADDING, TEXT, IMAGE or ANSWER."""
    classes = batch.modality.long()
    classes[batch.predicts_answer] = ANSWER
    return classes
