"""The loss of the vision-encoder optimization: L = L_reg + l1 L_ent + l2 L_err (METHOD 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from qvlm.numerics.precision import at_least_float32


@dataclass(frozen=True)
class LossTerms:
    """The three terms of one batch, each a differentiable scalar.

    Attributes:
        answer: L_reg, next-token loss of the quantized model on the answers, nats per token.
        entropy: L_ent = SUM_k w_k D(k, k+1), nats. Lower is better: an earlier layer's error
            then matters less to the later one, so the term is added. None where not measured.
        error: L_err, how far the quantized model is from the original one.
    """

    answer: Tensor
    entropy: Tensor | None
    error: Tensor

    def total(self, entropy_weight: float, error_weight: float) -> Tensor:
        """L_reg + l1 L_ent + l2 L_err; a term without weight is not touched."""
        loss = self.answer
        if entropy_weight and self.entropy is not None:
            loss = loss + entropy_weight * self.entropy.to(loss.dtype)
        if error_weight:
            loss = loss + error_weight * self.error.to(loss.dtype)
        return loss


def answer_term(logits: Tensor, targets: Tensor) -> Tensor:
    """Returns L_reg, the mean next-token loss.

    Args:
        logits: [tokens, vocabulary] at the positions that predict an answer token.
        targets: [tokens] int64, those answer tokens.
    """
    return F.cross_entropy(at_least_float32(logits), targets)


def entropy_term(dependency: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Returns L_ent = SUM_k w_k D(k, k+1) in nats.

    Args:
        dependency: D(k, k+1) of consecutive layers, scalars.
        weights: w_k, [layers - 1], constants.
    """
    return (torch.stack(list(dependency)) * weights.detach()).sum()


def error_term(
    vision_q: Tensor, vision_r: Tensor, hidden_q: Tensor, hidden_r: Tensor, output_weight: float
) -> Tensor:
    """Returns L_err = ||X_q^v - X_r^v|| + eta ||X_q^(n) - X_r^(n)||.

    Both norms are taken relative to that of their reference, so that the weights mean the same
    for models of any width and batches of any length.

    Args:
        vision_q: output of the vision tower in the quantized model.
        vision_r: the original tower's, in full precision; of the same shape, a constant.
        hidden_q: [tokens, channels] last hidden state of the quantized model, without padding.
        hidden_r: that of the original model.
        output_weight: eta.
    """
    return _relative(vision_q, vision_r) + output_weight * _relative(hidden_q, hidden_r)


def final_error(hidden_q: Tensor, hidden_r: Tensor) -> Tensor:
    """Returns E^(n) = ||X_q^(n) - X_r^(n)||, the Frobenius norm over all tokens and channels."""
    error: Tensor = torch.linalg.vector_norm(hidden_q - hidden_r)
    return error


def _relative(x_q: Tensor, x_r: Tensor) -> Tensor:
    size = torch.linalg.vector_norm(x_r).clamp(min=torch.finfo(x_r.dtype).tiny)
    error: Tensor = torch.linalg.vector_norm(x_q - x_r) / size
    return error
