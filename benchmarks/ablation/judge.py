"""Exact-match accuracy and KL of a model on held-out questions, one forward per question."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional as F

from qvlm.data import choose, open_source
from qvlm.data.batches import calibration_batches


class Judge:
    """Answers of a model with the right answer's tokens given, against full precision.

    A question counts as right if every token of its answer, the end included, is the most likely
    one: the same as an exact match of greedy decoding, without decoding step by step.
    """

    def __init__(self, model: Any, processor: Any, source: str, split: str, count: int) -> None:
        """Draws the questions and keeps the full-precision model's distributions."""
        samples = choose(open_source(source, split), count, seed=0)
        # Questions of like length together: padding costs as much as text.
        samples.sort(key=lambda sample: (sample.image is None, len(sample.question)))
        self.batches = calibration_batches(samples, processor, 25)
        self.reference = [self._log_probabilities(model, batch)[0] for batch in self.batches]

    def __call__(self, model: Any) -> dict[str, float]:
        """Accuracy in per cent, KL(full precision || model) in nats per answer token."""
        right = questions = tokens = 0
        divergence = 0.0
        for batch, reference in zip(self.batches, self.reference, strict=True):
            log_q, targets, rows = self._log_probabilities(model, batch)
            hits = log_q.argmax(dim=-1) == targets
            wrong = torch.zeros(len(batch.labels), dtype=torch.bool)
            wrong[rows[~hits]] = True
            right += int((~wrong).sum())
            questions += len(wrong)
            tokens += len(targets)
            kl = F.kl_div(log_q, reference.float(), reduction="sum", log_target=True)
            divergence += float(kl)
        return {"accuracy": 100 * right / questions, "kl": divergence / tokens}

    @torch.no_grad()
    def _log_probabilities(
        self, model: Any, batch: Any
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[answer tokens, vocabulary] log p, the tokens expected, and the sample of each."""
        mask = batch.predicts_answer
        hidden = model.model(**batch.inputs, use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[mask]).float()  # the other positions' logits are not needed
        targets = batch.labels[:, 1:][mask[:, :-1]]
        return logits.log_softmax(-1), targets, mask.nonzero()[:, 0]
