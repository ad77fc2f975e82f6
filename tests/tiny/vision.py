"""A tiny model with all that the vision stage needs, and a surrogate without rounding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.vision import VisionTraining
from qvlm.models import describe
from qvlm.observe import observe
from qvlm.schemes import ActivationScheme, LayerScheme, Recipe, VisionOptimizationSettings
from qvlm.search import Installer
from qvlm.vision import optimize_vision, straight_through
from qvlm.vision.objective import Objective, references
from qvlm.vision.parameters import only_trainable, vision_parameters
from tiny.batches import tiny_batches
from tiny.llava import tiny_llava

WEIGHT_LIMIT = 0.01
PER_TENSOR = LayerScheme(activations=ActivationScheme(granularity="per_tensor"))
PER_TOKEN = LayerScheme(activations=ActivationScheme(granularity="per_token"))


class Bench:
    """The tiny LLaVA with its statistics; vision is quantized per tensor, the rest per channel."""

    def __init__(
        self, root: Path, vision: LayerScheme | None = PER_TENSOR, **settings: Any
    ) -> None:
        self.recipe = Recipe(
            vision=vision, vision_optimization=VisionOptimizationSettings(**settings)
        )
        self.model, processor = tiny_llava(layers=4)
        self.batches = tiny_batches(root, processor)
        self.images = [batch for batch in self.batches if batch.has_images]
        self.model_map = describe(self.model, self.recipe)
        stats = observe(self.model, self.model_map, self.recipe, self.batches)
        installer = Installer(self.model, self.model_map, self.recipe, stats)
        self.grids = {
            site.name: grid
            for site in self.model_map.sites
            if site.name in stats.sites and (grid := installer.grid(site, 0)) is not None
        }
        self.dependency = stats.dependency["language"]

    @property
    def settings(self) -> VisionOptimizationSettings:
        assert self.recipe.vision_optimization is not None
        return self.recipe.vision_optimization

    def train(self) -> tuple[VisionTraining, dict[str, torch.Tensor]]:
        return optimize_vision(
            self.model, self.model_map, self.recipe, self.grids, self.images[:1], self.images[1:]
        )

    def parameters(self) -> dict[str, torch.Tensor]:
        return vision_parameters(self.model, self.model_map, self.images[0])

    @contextmanager
    def objective(
        self, dtype: torch.dtype = torch.float32
    ) -> Iterator[tuple[Objective, dict[str, torch.Tensor]]]:
        """The loss of the batches with images, and the parameters that it depends on."""
        self.model.to(dtype)
        self.images = [with_dtype(batch, dtype) for batch in self.images]
        parameters = self.parameters()
        original = references(self.model, self.model_map, self.recipe, self.images)
        with (
            only_trainable(self.model, parameters),
            straight_through.straight_through(
                self.model, self.model_map, self.recipe, self.grids
            ) as switch,
        ):
            self.model.to(dtype)  # the quantized weights too
            yield (
                Objective(self.model, self.model_map, switch, self.images, original, self.settings),
                parameters,
            )


@dataclass(frozen=True)
class ClampedWeight:
    """Stands in for a QuantizedWeight whose rounding is the identity: only the clamp is left."""

    values: torch.Tensor
    scale: torch.Tensor

    def dequantized(self) -> torch.Tensor:
        return self.values


def leave_out_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding becomes the identity, clamps stay: what the straight-through gradients belong to.

    Finite differences of the true forward say nothing, as it is a staircase. Weights are clamped
    to a limit that some of the tiny model's exceed and that does not move with them.
    """

    def clamp_weight(weight: torch.Tensor, *, group_size: int, **_scheme: Any) -> ClampedWeight:
        # No step at all, so that a weight counts as inside only where the clamp left it alone.
        step = weight.new_zeros(len(weight), weight.shape[1] // group_size)
        return ClampedWeight(weight.detach().clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT), step)

    monkeypatch.setattr(straight_through, "quantize_weight", clamp_weight)
    monkeypatch.setattr(torch, "round", lambda x: x.clone())


def keep_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Llama's norm computes in float32 whatever it is given, too coarse for small differences."""

    def forward(norm: Any, x: torch.Tensor) -> torch.Tensor:
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + norm.variance_epsilon)
        return norm.weight * x * scale

    monkeypatch.setattr(LlamaRMSNorm, "forward", forward)


def with_dtype(batch: Batch, dtype: torch.dtype) -> Batch:
    """The batch with images of that dtype."""
    inputs = {**batch.inputs, "pixel_values": batch.inputs["pixel_values"].to(dtype)}
    return Batch(inputs, batch.modality, batch.labels)
