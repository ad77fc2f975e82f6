"""The logits at the answers are the model's own, padding and batches of text included."""

from __future__ import annotations

from pathlib import Path

import torch

from qvlm.models.logits import answer_logits
from tiny.batches import tiny_batches
from tiny.llava import tiny_llava


def test_logits_at_the_answers_are_the_model_s_own(tmp_path: Path) -> None:
    model, processor = tiny_llava()
    for batch in tiny_batches(tmp_path / "data", processor):
        with torch.no_grad():
            expected = model(**batch.inputs).logits[batch.predicts_answer]
        torch.testing.assert_close(answer_logits(model, batch), expected)
        assert not model.get_output_embeddings()._forward_pre_hooks
