"""Judge a model by its answers to samples that were not calibrated on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from qvlm.artefacts.analysis import Quality
from qvlm.artefacts.calibration import Batch
from qvlm.models.logits import answer_logits
from qvlm.numerics.losses import kl_per_position

Generated = Callable[[nn.Module], float]
"""Accuracy, in per cent, of the answers that a model generates."""


class Judge:
    """Keeps the full-precision logits where answers are predicted; compares models with them.

    A sample counts as correct if every token of its answer, the end included, is the most likely
    one: an exact match of greedy decoding, without decoding step by step.
    """

    def __init__(
        self, model: nn.Module, batches: Sequence[Batch], generated: Generated | None = None
    ) -> None:
        """Takes the full-precision model, held-out batches, and what scores generated answers."""
        self._batches = batches
        self._generated = generated
        self._reference = [answer_logits(model, batch) for batch in batches]

    def __call__(self, model: nn.Module) -> Quality:
        """Returns the quality of a model; one forward over the held-out samples."""
        loss = divergence = 0.0
        tokens = correct = samples = 0
        for batch, reference in zip(self._batches, self._reference, strict=True):
            logits = answer_logits(model, batch)
            targets = batch.labels[:, 1:][batch.predicts_answer[:, :-1]]
            loss += float(F.cross_entropy(logits, targets, reduction="sum"))
            divergence += float(kl_per_position(logits, reference).sum())
            rows = batch.predicts_answer.nonzero()[:, 0]
            wrong = torch.zeros(len(batch.labels), dtype=torch.bool, device=rows.device)
            wrong[rows[logits.argmax(dim=-1) != targets]] = True
            correct += int((~wrong).sum())
            tokens += len(targets)
            samples += len(batch.labels)
        return Quality(
            samples=samples,
            answer_loss=loss / tokens,
            kl=divergence / tokens,
            correct=correct,
            generated_accuracy=None if self._generated is None else self._generated(model),
        )
