"""A batch of calibration samples, ready for a model."""

from __future__ import annotations

from dataclasses import dataclass

import torch

PADDING, TEXT, IMAGE = 0, 1, 2
"""Values of `Batch.modality`."""
IGNORED = -100
"""Label of positions that are not part of the answer."""


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

    @property
    def predicts_answer(self) -> torch.Tensor:
        """[samples, tokens] bool: positions whose next token belongs to the answer."""
        mask = torch.zeros_like(self.labels, dtype=torch.bool)
        mask[:, :-1] = self.labels[:, 1:] != IGNORED
        return mask

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(
            inputs={name: tensor.to(device) for name, tensor in self.inputs.items()},
            modality=self.modality.to(device),
            labels=self.labels.to(device),
        )

    @property
    def has_images(self) -> bool:
        """True where the samples come with images."""
        return "pixel_values" in self.inputs
