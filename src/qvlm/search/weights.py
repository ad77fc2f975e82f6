"""How much every position of a batch counts in the loss of a block."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from qvlm.artefacts.calibration import PADDING, Batch

ANSWER = 3
"""Class, beside PADDING, TEXT and IMAGE, of positions whose next token is of the answer."""


def token_weights(batches: Sequence[Batch], kind: str) -> list[torch.Tensor]:
    """Returns per batch [samples, tokens] float32 weights; padding weighs nothing.

    `uniform`: 1 for every token. `balanced`: image tokens, text tokens and the positions that
    predict the answer have the same total weight over all batches, so that the many image tokens
    cannot outvote the few positions that the answer hangs on.
    """
    classes = [_classes(batch) for batch in batches]
    if kind == "uniform":
        return [(group != PADDING).float() for group in classes]
    counts = torch.zeros(4)
    for group in classes:
        counts += torch.bincount(group.flatten(), minlength=4)
    share = torch.where(counts > 0, counts.sum() / counts.clamp(min=1), 0.0)
    share[PADDING] = 0.0
    return [share[group] for group in classes]


def predicts_answer(batch: Batch) -> torch.Tensor:
    """[samples, tokens] bool: positions whose next token belongs to the answer."""
    return batch.predicts_answer


def _classes(batch: Batch) -> torch.Tensor:
    """[samples, tokens] int64: PADDING, TEXT, IMAGE or ANSWER."""
    classes = batch.modality.long()
    classes[predicts_answer(batch)] = ANSWER
    return classes
