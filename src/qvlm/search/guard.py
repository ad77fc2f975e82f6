"""Judge plans by the answers of samples that the search did not see."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from qvlm.artefacts import Verdict
from qvlm.artefacts.calibration import Batch
from qvlm.numerics.losses import kl_to_reference


class Guard:
    """Keeps the full-precision logits at the answers and compares later models with them."""

    def __init__(self, model: nn.Module, batches: Sequence[Batch]) -> None:
        """Runs the full-precision model once over the held-out batches."""
        self._batches = batches
        self._reference = [_answer_logits(model, batch) for batch in batches]
        self.forwards = 1
        """Forwards over the held-out samples so far, the full-precision one included."""

    @property
    def samples(self) -> int:
        """Number of held-out samples."""
        return sum(len(batch.labels) for batch in self._batches)

    def judge(self, model: nn.Module) -> Verdict:
        """Next-token loss of the answers and KL(full precision || model)."""
        loss = divergence = 0.0
        positions = 0
        for batch, reference in zip(self._batches, self._reference, strict=True):
            logits = _answer_logits(model, batch)
            targets = batch.labels[:, 1:][batch.predicts_answer[:, :-1]]
            loss += float(F.cross_entropy(logits, targets, reduction="sum"))
            every = torch.ones(len(targets), dtype=torch.bool)
            divergence += float(kl_to_reference(logits, reference, every)[0])
            positions += len(targets)
        self.forwards += 1
        return Verdict(answer_loss=loss / positions, kl=divergence / positions)


@torch.no_grad()
def _answer_logits(model: nn.Module, batch: Batch) -> torch.Tensor:
    """[answer tokens, vocabulary] float32, at the positions that predict an answer's token."""
    logits: torch.Tensor = model(**batch.inputs, use_cache=False).logits
    return logits[batch.predicts_answer].float()
