"""What a model says where the answers of a batch are predicted."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from qvlm.artefacts.calibration import Batch


@torch.no_grad()
def answer_logits(model: nn.Module, batch: Batch) -> torch.Tensor:
    """Returns the logits at `batch.predicts_answer`, [answer tokens, vocabulary] float32.

    The output layer runs at these positions alone: those of all others would cost as much as a
    quarter of a small language model, and most of the memory.
    """
    mask = batch.predicts_answer
    causal: Any = model
    head: nn.Module = causal.get_output_embeddings()
    handle = head.register_forward_pre_hook(lambda _module, args: (args[0][mask], *args[1:]))
    try:
        logits: torch.Tensor = model(**batch.inputs, use_cache=False).logits
    finally:
        handle.remove()
    return logits.float()
