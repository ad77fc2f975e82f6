"""Judge a plan by the answers of samples that the search did not see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from qvlm.artefacts.calibration import Batch
from qvlm.numerics.losses import answer_loss, kl_to_reference
from qvlm.search.weights import predicts_answer


@dataclass(frozen=True)
class Verdict:
    """Quality of a quantized model on held-out samples, in nats per answer token."""

    answer_loss: float
    kl: float

    def worse_than(self, other: Verdict) -> bool:
        """True unless both figures are as low or lower; NaN is worse than anything."""
        return not (self.answer_loss <= other.answer_loss and self.kl <= other.kl)


class Guard:
    """Keeps the full-precision logits at the answers and compares later models with them."""

    def __init__(self, model: nn.Module, batches: Sequence[Batch]) -> None:
        self._batches = batches
        self._reference = [_logits(model, batch) for batch in batches]

    @property
    def samples(self) -> int:
        """Number of held-out samples."""
        return sum(len(batch.labels) for batch in self._batches)

    def judge(self, model: nn.Module) -> Verdict:
        """Next-token loss of the answers and KL(full precision || model)."""
        loss = divergence = 0.0
        tokens = positions = 0
        for batch, reference in zip(self._batches, self._reference, strict=True):
            logits = _logits(model, batch)
            total, count = answer_loss(logits, batch.labels)
            loss, tokens = loss + float(total), tokens + int(count)
            total, count = kl_to_reference(logits, reference, predicts_answer(batch))
            divergence, positions = divergence + float(total), positions + int(count)
        return Verdict(loss / tokens, divergence / positions)


@torch.no_grad()
def _logits(model: nn.Module, batch: Batch) -> torch.Tensor:
    logits: torch.Tensor = model(**batch.inputs, use_cache=False).logits
    return logits.float()
