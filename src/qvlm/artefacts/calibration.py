"""A batch of calibration samples, ready for a model."""

from __future__ import annotations

from dataclasses import dataclass

import torch

PADDING, TEXT, IMAGE = 0, 1, 2
"""Values of `Batch.modality`."""


@dataclass(frozen=True)
class Batch:
    """Model inputs with what each position is.

    Attributes:
        inputs: keyword arguments of the model's forward (`input_ids` [samples, tokens],
            `attention_mask`, `pixel_values` when a sample has an image, ...).
        modality: [samples, tokens] int8, PADDING, TEXT or IMAGE.
        labels: [samples, tokens] int64, the token expected at each answer position,
            -100 elsewhere (not shifted: labels[i] is input_ids[i]).
    """

    inputs: dict[str, torch.Tensor]
    modality: torch.Tensor
    labels: torch.Tensor

    @property
    def valid(self) -> torch.Tensor:
        """[samples, tokens] bool, False at padding."""
        return self.modality != PADDING
