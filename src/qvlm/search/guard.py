"""Judge plans by the answers of samples that the search did not see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from qvlm.artefacts import Verdict
from qvlm.artefacts.calibration import Batch
from qvlm.models.logits import answer_logits
from qvlm.numerics.losses import kl_per_position
from qvlm.workers import ALONE, Workers

SURE = 2.0
"""Standard errors by which a plan must be better: few samples tell small differences by luck."""


@dataclass(frozen=True)
class Judgement:
    """How a model answers held-out samples.

    Attributes:
        verdict: means per answer token.
        totals: per sample, answer loss plus KL, summed over the answer's tokens, in nats.
    """

    verdict: Verdict
    totals: torch.Tensor

    def surely_better_than(self, other: Judgement) -> bool:
        """True where the mean gain over the samples exceeds `SURE` standard errors of it."""
        if not bool(self.totals.isfinite().all()):
            return False
        if not bool(other.totals.isfinite().all()):
            return True
        gains = (other.totals - self.totals).double()
        error = gains.std(correction=1) / len(gains) ** 0.5 if len(gains) > 1 else torch.inf
        return bool(gains.mean() > SURE * error)


class Guard:
    """Keeps the full-precision logits at the answers and compares later models with them."""

    def __init__(
        self, model: nn.Module, batches: Sequence[Batch], workers: Workers = ALONE
    ) -> None:
        """Runs the full-precision model once over the held-out batches, which processes share."""
        self._batches = batches
        self._workers = workers
        self._own = workers.share(batches)
        self._reference = {i: answer_logits(model, batch) for i, batch in self._own.items()}
        self.forwards = 1
        """Forwards over the held-out samples so far, the full-precision one included."""

    @property
    def samples(self) -> int:
        """Number of held-out samples."""
        return sum(len(batch.labels) for batch in self._batches)

    def judge(self, model: nn.Module) -> Judgement:
        """Next-token loss of the answers and KL(full precision || model)."""
        parts = {}
        for index, batch in self._own.items():
            logits = answer_logits(model, batch)
            targets = batch.labels[:, 1:][batch.predicts_answer[:, :-1]]
            losses = F.cross_entropy(logits, targets, reduction="none")
            divergences = kl_per_position(logits, self._reference[index])
            rows = batch.predicts_answer.nonzero()[:, 0]
            of_sample = torch.zeros(len(batch.labels)).index_add_(
                0, rows.cpu(), (losses + divergences).cpu()
            )
            sums = float(losses.sum()), float(divergences.sum()), len(targets)
            parts[index] = *sums, of_sample.tolist()
        self.forwards += 1
        loss = divergence = 0.0
        positions = 0
        totals: list[float] = []
        for part in self._workers.join(parts):
            loss, divergence, positions = loss + part[0], divergence + part[1], positions + part[2]
            totals += part[3]
        verdict = Verdict(answer_loss=loss / positions, kl=divergence / positions)
        return Judgement(verdict, torch.tensor(totals))
