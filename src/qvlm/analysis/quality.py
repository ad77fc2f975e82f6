"""Judge a model by its answers to samples that were not calibrated on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

from qvlm.artefacts.analysis import Quality
from qvlm.artefacts.calibration import Batch
from qvlm.numerics.losses import kl_to_reference
from qvlm.search.weights import predicts_answer

Generated = Callable[[nn.Module], float]
"""Accuracy, in per cent, of the answers that a model generates."""


class Judge:
    """Keeps the full-precision logits where answers are predicted; compares models with them."""

    def __init__(
        self, model: nn.Module, batches: Sequence[Batch], generated: Generated | None = None
    ) -> None:
        """Takes the full-precision model, held-out batches, and what scores generated answers."""
        self._batches = batches
        self._generated = generated
        self._reference = [_answer_logits(model, batch) for batch in batches]

    def __call__(self, model: nn.Module) -> Quality:
        """Returns the quality of a model; one forward over the held-out samples."""
        loss = divergence = 0.0
        positions = correct = samples = 0
        for batch, reference in zip(self._batches, self._reference, strict=True):
            logits = _answer_logits(model, batch)
            rows, targets, first = _answers(batch)
            loss += float(F.cross_entropy(logits, targets, reduction="sum"))
            everywhere = torch.ones(len(rows), dtype=torch.bool)
            divergence += float(kl_to_reference(logits, reference, everywhere)[0])
            positions += len(rows)
            correct += int((logits[first].argmax(-1) == targets[first]).sum())
            samples += int(first.sum())
        return Quality(
            samples=samples,
            answer_loss=loss / positions,
            kl=divergence / positions,
            correct=correct,
            generated_accuracy=None if self._generated is None else self._generated(model),
        )


@torch.no_grad()
def _answer_logits(model: nn.Module, batch: Batch) -> torch.Tensor:
    """[answer tokens, vocabulary]: only these are kept, all logits would fill the memory."""
    logits: torch.Tensor = model(**batch.inputs, use_cache=False).logits
    return logits[predicts_answer(batch)].float()


def _answers(batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Per answer token: its sample, its label, and whether it is the sample's first."""
    mask = predicts_answer(batch)
    rows, positions = mask.nonzero(as_tuple=True)
    first = torch.ones_like(rows, dtype=torch.bool)
    first[1:] = rows[1:] != rows[:-1]
    return rows, batch.labels[rows, positions + 1], first
