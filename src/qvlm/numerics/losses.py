"""Distances between quantized and full-precision outputs, and losses on answers."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_RMS_EPSILON = 1e-6


def normalized_error(x_q: Tensor, x_r: Tensor, weights: Tensor | None = None) -> Tensor:
    """Returns the mean over tokens of ||n(x_q) - n(x_r)||^2 / C, n(x) = x / rms(x) per token.

    What the next norm will see: a token with a massive channel counts no more than another
    (METHOD 5). 0 for equal inputs, at most 4 (opposite directions).

    Args:
        x_q: [tokens, C] of the quantized path.
        x_r: [tokens, C] of the full-precision path.
        weights: [tokens], non-negative with a positive sum; None for equal ones.

    Returns:
        Scalar float32, differentiable.
    """
    return l2_error(_rms_normalized(x_q), _rms_normalized(x_r), weights)


def l2_error(x_q: Tensor, x_r: Tensor, weights: Tensor | None = None) -> Tensor:
    """Returns the mean over tokens of ||x_q - x_r||^2 / C: the paper's objective to the letter.

    Arguments and result as in `normalized_error`.
    """
    per_token = (x_q.float() - x_r.float()).square().mean(dim=-1)
    if weights is None:
        return per_token.mean()
    return (weights * per_token).sum() / weights.sum()


def answer_loss(logits: Tensor, labels: Tensor) -> tuple[Tensor, int]:
    """Returns the summed next-token loss of the answers, in nats, and how many tokens it sums.

    The logits at position i are judged by the label at i + 1.

    Args:
        logits: [samples, tokens, vocabulary], any float dtype.
        labels: [samples, tokens] int64, -100 outside the answers.

    Returns:
        Scalar float32 (differentiable) and the count; (0, 0) without answers.
    """
    targets = labels[:, 1:]
    chosen = targets != -100
    picked = logits[:, :-1][chosen].float()
    loss = F.cross_entropy(picked, targets[chosen], reduction="sum")
    return loss, int(chosen.sum())


def kl_to_reference(logits_q: Tensor, logits_r: Tensor, mask: Tensor) -> tuple[Tensor, int]:
    """Returns the summed KL(reference || quantized) of next-token distributions, in nats.

    Args:
        logits_q: [samples, tokens, vocabulary] of the quantized model.
        logits_r: same shape, of the full-precision model.
        mask: [samples, tokens] bool, the positions whose logits are compared (not shifted).

    Returns:
        Scalar float32 (differentiable) and the number of positions.
    """
    return kl_per_position(logits_q[mask], logits_r[mask]).sum(), int(mask.sum())


def kl_per_position(logits_q: Tensor, logits_r: Tensor) -> Tensor:
    """Returns KL(reference || quantized) of every next-token distribution, in nats.

    Args:
        logits_q: [..., vocabulary] of the quantized model, any float dtype.
        logits_r: same shape, of the full-precision model.

    Returns:
        [...] float32, differentiable.
    """
    log_q = torch.log_softmax(logits_q.float(), dim=-1)
    log_r = torch.log_softmax(logits_r.float(), dim=-1)
    return F.kl_div(log_q, log_r, reduction="none", log_target=True).sum(dim=-1)


def _rms_normalized(x: Tensor) -> Tensor:
    wide = x.float()
    return wide * torch.rsqrt(wide.square().mean(dim=-1, keepdim=True) + _RMS_EPSILON)
