"""KL of a quantized model's answers to those of full precision, with the right answer given.

The full-precision distributions are saved once and read by every cell.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional as F

from qvlm.artefacts.calibration import Batch
from qvlm.data import Sample
from qvlm.data.batches import calibration_batches

BATCH_SIZE = 25


def write_reference(path: Path, model: Any, processor: Any, samples: list[Sample]) -> None:
    """Saves log p of full precision at every position that predicts an answer token."""
    tensors = {
        str(index): _log_probabilities(model, batch)
        for index, batch in enumerate(_batches(samples, processor))
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"questions": _fingerprint(samples)})


def divergence(path: Path, model: Any, processor: Any, samples: list[Sample]) -> float:
    """KL(full precision || model) in nats per answer token.

    Raises:
        ValueError: the reference is of other questions.
    """
    total, tokens = 0.0, 0
    with safe_open(path, framework="pt") as reference:
        if reference.metadata()["questions"] != _fingerprint(samples):
            raise ValueError(f"reference '{path}' is of other questions: remove it")
        for index, batch in enumerate(_batches(samples, processor)):
            log_q = _log_probabilities(model, batch)
            log_p = reference.get_tensor(str(index))
            total += float(F.kl_div(log_q, log_p, reduction="sum", log_target=True))
            tokens += len(log_q)
    return total / tokens


@torch.no_grad()
def _log_probabilities(model: Any, batch: Batch) -> torch.Tensor:
    """[answer tokens, vocabulary] float32."""
    hidden = model.model(**batch.inputs, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[batch.predicts_answer]).float()
    return logits.log_softmax(-1)


def _batches(samples: list[Sample], processor: Any) -> list[Batch]:
    # Questions of like length together: padding costs as much as text.
    ordered = sorted(samples, key=lambda s: (s.image is None, len(s.question), s.key))
    return calibration_batches(ordered, processor, BATCH_SIZE)


def _fingerprint(samples: list[Sample]) -> str:
    keys = "\0".join(sorted(sample.fingerprint for sample in samples))
    return hashlib.sha256(keys.encode()).hexdigest()
