"""What the vision-encoder optimization did: losses, the kept epoch, and the blocks it led to."""

from __future__ import annotations

from qvlm.artefacts.plan import BlockPlan
from qvlm.schemes import VisionOptimizationSettings
from qvlm.schemes.layer import Frozen


class LossValues(Frozen):
    """Means over batches (METHOD 6): total = answer + l1 entropy + l2 error."""

    total: float
    answer: float
    """L_reg, nats per answer token."""
    entropy: float | None
    """L_ent, nats; None where its weight l1 is 0, so that it was not measured."""
    error: float
    """L_err, relative to the norms of the references."""


class VisionEpoch(Frozen):
    """One pass over the training batches."""

    epoch: int
    """0 is the tower as it was."""
    training: LossValues | None
    """Mean over the epoch's steps, each before its update; None for epoch 0."""
    validation: LossValues
    """After the epoch, always with the entropy weights of epoch 0: one measure for all epochs."""
    entropy_weights: tuple[float, ...]
    """w_k that the epoch trained with; those of the original tower for epoch 0."""


class VisionTraining(Frozen):
    """Outcome of the training; the tensors themselves lie in `vision.safetensors`."""

    settings: VisionOptimizationSettings
    seed: int
    training_samples: int
    validation_samples: int
    """Samples with an image that trained, and that decided which epoch is kept."""
    epochs: tuple[VisionEpoch, ...]
    chosen_epoch: int
    """The one with the least validation loss; 0 keeps the original tower."""
    diverged: bool
    """True where a loss was not finite, which ended the training."""
    parameters: int
    """Numbers that were trained."""
    change_norm: float
    """||theta - theta_0|| of the kept epoch."""
    relative_change: float
    """The same over ||theta_0||."""
    forward_equivalents: float
    """Forwards of the model over these samples; a backward counts 2, recomputation 1."""
    seconds: float


class VisionPlan(Frozen):
    """The training with the partitions before and after it, for the same thresholds h0.

    The entropy per layer is the `dependency` of their towers.
    """

    training: VisionTraining
    blocks_before: BlockPlan
    blocks_after: BlockPlan
