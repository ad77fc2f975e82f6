"""The loss of a batch, from the quantized path, the exact path and the original model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from qvlm.artefacts import ModelMap
from qvlm.artefacts.calibration import Batch
from qvlm.numerics.affine import AffineGrid, grid_from_range
from qvlm.numerics.entropy_loss import dependency_loss
from qvlm.schemes import Recipe, VisionOptimizationSettings
from qvlm.vision.loss import LossTerms, answer_term, entropy_term, error_term, final_error
from qvlm.vision.straight_through import Switch
from qvlm.vision.trace import trace


@dataclass(frozen=True)
class References:
    """What the original model does, in full precision; it never changes.

    Attributes:
        vision: per batch, X_r^v, output of the vision tower.
        hidden: per batch, [tokens, channels] X_r^(n), last hidden state without padding.
        grids: per layer of the language model, the levels that its dependency is measured on
            (its first site's min-max range over all batches, as in the observe stage).
    """

    vision: tuple[Tensor, ...]
    hidden: tuple[Tensor, ...]
    grids: tuple[AffineGrid, ...]


@torch.no_grad()
def references(
    model: nn.Module, model_map: ModelMap, recipe: Recipe, batches: Sequence[Batch]
) -> References:
    """Runs the original model once over all batches."""
    vision, hidden = [], []
    lower: dict[int, Tensor] = {}
    upper: dict[int, Tensor] = {}
    for batch in batches:
        seen = trace(model, model_map, batch, answers=False)
        vision.append(seen.vision.clone())
        hidden.append(seen.hidden)
        for layer, x in enumerate(seen.leaders):
            low, high = x.amin(dim=0), x.amax(dim=0)
            lower[layer] = torch.minimum(lower.get(layer, low), low)
            upper[layer] = torch.maximum(upper.get(layer, high), high)
    scheme = recipe.language.activations if recipe.language is not None else None
    grids = []
    if scheme is not None:
        per_tensor = scheme.is_static and scheme.granularity == "per_tensor"
        for low, high in zip(lower.values(), upper.values(), strict=True):
            ends = (low.amin().view(1), high.amax().view(1)) if per_tensor else (low, high)
            grids.append(grid_from_range(*ends, min(8, scheme.bits)))
    return References(tuple(vision), tuple(hidden), tuple(grids))


def links(model_map: ModelMap) -> tuple[int, ...]:
    """Positions p such that the leading sites p and p + 1 are those of consecutive layers.

    A layer that the recipe leaves in floating point altogether has no site and no link.
    """
    return tuple(
        position
        for position, (a, b) in enumerate(pairwise(model_map.leading_sites("language")))
        if a.layer + 1 == b.layer and a.channels == b.channels
    )


@dataclass
class Objective:
    """Losses of batches; `passes` counts samples run, a backward pass as its caller says.

    Attributes:
        model: with straight-through linears, as `switch` belongs to them.
        batches, original: samples with images, and what the original model does on them.
        settings: weights of the terms.
    """

    model: nn.Module
    model_map: ModelMap
    switch: Switch
    batches: Sequence[Batch]
    original: References
    settings: VisionOptimizationSettings
    passes: float = 0.0

    def terms(self, index: int, weights: Tensor) -> LossTerms:
        """The three terms of one batch, for the weights w_k of the dependency."""
        batch = self.batches[index]
        self._count(index)
        seen = trace(self.model, self.model_map, batch, answers=True)
        targets = batch.labels[:, 1:][batch.predicts_answer[:, :-1]]
        error = error_term(
            seen.vision,
            self.original.vision[index],
            seen.hidden,
            self.original.hidden[index],
            self.settings.output_weight,
        )
        answer = answer_term(seen.logits, targets)
        entropy = entropy_term(self.dependency(index), weights) if len(weights) else None
        return LossTerms(answer=answer, entropy=entropy, error=error)

    def dependency(self, index: int) -> list[Tensor]:
        """D(k, k+1) of the language model's layers on one batch, in the exact model.

        That is where METHOD 3 measures it and where the blocks come from: not behind quantizers.
        """
        self._count(index)
        with self.switch.to(quantized=False):
            seen = trace(self.model, self.model_map, self.batches[index], answers=False)
        x, grids = seen.leaders, self.original.grids
        return [
            dependency_loss(x[first], x[first + 1], grids[first], grids[first + 1])
            for first in links(self.model_map)
        ]

    def jacobian_norms(self, index: int) -> Tensor:
        """w_k = ||dE^(n) / dX^(k)|| of one batch, for the earlier layer of every link, [links].

        X_q^(k) is X_r^(k) and a rounding error that a straight-through estimator holds constant,
        so the gradient at the quantized path's input of layer k is the one with respect to
        X_r^(k). E^(n) is the plain Frobenius norm: the weights have no unit, and that of the last
        hidden state itself would be 1.
        """
        self._count(index)
        seen = trace(self.model, self.model_map, self.batches[index], answers=False)
        error = final_error(seen.hidden, self.original.hidden[index])
        leaders = self.model_map.leading_sites("language")
        inputs = [seen.inputs[leaders[first].layer] for first in links(self.model_map)]
        gradients = torch.autograd.grad(error, inputs)
        return torch.stack([torch.linalg.vector_norm(gradient) for gradient in gradients])

    def _count(self, index: int) -> None:
        self.passes += len(self.batches[index].labels)
