"""Epochs of training, judged on held-out samples; the best one is kept."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from qvlm.artefacts.vision import LossValues, VisionEpoch
from qvlm.schemes import VisionOptimizationSettings
from qvlm.vision.loss import LossTerms
from qvlm.vision.objective import Objective

Progress = Callable[[int, int], None]
Step = Callable[[], None]


class Training:
    """Epochs of one training, each judged on batches that do not train.

    Attributes:
        start: name -> the parameters before.
        epochs: what was recorded so far.
        chosen: the epoch with the least validation loss so far.
        diverged: a loss was not finite, which ended the training.
    """

    def __init__(
        self,
        objective: Objective,
        parameters: Mapping[str, Tensor],
        train: int,
        seed: int,
        progress: Progress,
    ) -> None:
        """Prepares; the first `train` batches of the objective train, the others judge.

        Args:
            objective: of all batches.
            parameters: name -> parameter of the model; they change in place.
            train: how many batches train.
            seed: decides their order in each epoch.
            progress: told how many batches of how many are done.
        """
        self._objective = objective
        self._settings: VisionOptimizationSettings = objective.settings
        self._parameters = parameters
        self._train = range(train)
        self._judge = range(train, len(objective.batches))
        self._order = torch.Generator().manual_seed(seed)
        self._progress = progress
        self._done = 0
        self.start = _copy(parameters)
        self.epochs: list[VisionEpoch] = []
        self.chosen = 0
        self.diverged = False

    def best_of_all_epochs(self) -> dict[str, Tensor]:
        """Runs epoch after epoch; returns the best one's parameters and leaves them in place."""
        step = _adamw(self._parameters, self._settings.learning_rate)
        weights = ruler = self._weights()
        best = self._validate(ruler)
        kept = self.start
        self._record(0, None, best, ruler)
        for epoch in range(1, self._settings.epochs + 1):
            if epoch > 1:
                weights = self._weights()
            training = self._train_epoch(weights, step)
            validation = self._validate(ruler)
            if not math.isfinite(training.total) or not math.isfinite(validation.total):
                self.diverged = True
                warnings.warn(
                    f"vision optimization diverged in epoch {epoch}, so epoch {self.chosen} is "
                    "kept: lower vision_optimization.learning_rate",
                    stacklevel=4,
                )
                break
            self._record(epoch, training, validation, weights)
            if validation.total < best.total:
                best, kept, self.chosen = validation, _copy(self._parameters), epoch
            if epoch - self.chosen >= self._settings.patience:
                break
        self._progress(self._steps, self._steps)
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(kept[name])
        return kept

    @property
    def _steps(self) -> int:
        """Batches of a training without early stop."""
        per_epoch = len(self._train) + len(self._judge)
        return self._settings.epochs * per_epoch + len(self._judge)

    def _weights(self) -> Tensor:
        """w_k, the mean over the training batches; empty where the entropy does not count."""
        if not self._settings.entropy_weight:
            return torch.empty(0)
        norms = [self._objective.jacobian_norms(index) for index in self._train]
        self._count_backward(self._train)
        return torch.stack(norms).mean(dim=0)

    def _train_epoch(self, weights: Tensor, step: Step) -> LossValues:
        values = []
        order = torch.randperm(len(self._train), generator=self._order).tolist()
        for index in order:
            terms = self._objective.terms(index, weights)
            loss = self._total(terms)
            torch.autograd.backward(loss)
            step()
            self._count_backward([index], 2 if self._settings.entropy_weight else 1)
            values.append(self._values(index, terms, loss))
            self._tick()
        return _mean(values)

    @torch.no_grad()
    def _validate(self, weights: Tensor) -> LossValues:
        values = []
        for index in self._judge:
            terms = self._objective.terms(index, weights)
            values.append(self._values(index, terms, self._total(terms)))
            self._tick()
        return _mean(values)

    def _total(self, terms: LossTerms) -> Tensor:
        return terms.total(self._settings.entropy_weight, self._settings.error_weight)

    def _values(self, index: int, terms: LossTerms, loss: Tensor) -> tuple[int, LossValues]:
        """Number of samples of the batch, and its losses as numbers."""
        return self._samples([index]), LossValues(
            total=loss.item(),
            answer=terms.answer.item(),
            entropy=None if terms.entropy is None else terms.entropy.item(),
            error=terms.error.item(),
        )

    def _samples(self, batches: Iterable[int]) -> int:
        return sum(len(self._objective.batches[index].labels) for index in batches)

    def _record(
        self, epoch: int, training: LossValues | None, validation: LossValues, weights: Tensor
    ) -> None:
        self.epochs.append(
            VisionEpoch(
                epoch=epoch,
                training=training,
                validation=validation,
                entropy_weights=tuple(weights.tolist()),
            )
        )

    def _count_backward(self, batches: Iterable[int], forwards: int = 1) -> None:
        """Counts the backward of so many forwards over these batches."""
        cost = 3 if self._settings.checkpointing else 2
        self._objective.passes += cost * forwards * self._samples(batches)

    def _tick(self) -> None:
        self._done += 1
        self._progress(self._done, self._steps)


def _adamw(parameters: Mapping[str, Tensor], learning_rate: float) -> Callable[[], None]:
    """A step of AdamW without weight decay, from the parameters' gradients, which it takes.

    Half-precision parameters would lose small steps: these add up in float32 copies.
    """
    masters = {name: p.detach().float().clone() for name, p in parameters.items()}
    optimizer = torch.optim.AdamW(list(masters.values()), lr=learning_rate, weight_decay=0.0)

    @torch.no_grad()
    def step() -> None:
        for name, parameter in parameters.items():
            masters[name].grad = None if parameter.grad is None else parameter.grad.float()
            parameter.grad = None
        optimizer.step()
        for name, parameter in parameters.items():
            parameter.copy_(masters[name])

    return step


def _copy(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


def _mean(values: Sequence[tuple[int, LossValues]]) -> LossValues:
    """Mean over samples."""
    total = sum(count for count, _ in values)

    def mean(field: str) -> float:
        return math.fsum(count * getattr(value, field) for count, value in values) / total

    measured = values[0][1].entropy is not None
    return LossValues(
        total=mean("total"),
        answer=mean("answer"),
        entropy=mean("entropy") if measured else None,
        error=mean("error"),
    )
