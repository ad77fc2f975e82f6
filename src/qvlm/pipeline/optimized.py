"""The vision tower as a recipe optimizes it, put in for a while and taken out again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import torch

from qvlm.analysis.study import Replan, Tell, planned
from qvlm.artefacts import BlockPlan, ModelMap
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.statistics import ActivationStats
from qvlm.artefacts.steps import InMemory
from qvlm.data import Sample
from qvlm.models import LoadedModel
from qvlm.observe import observe
from qvlm.pipeline.dependency import measure_dependency
from qvlm.pipeline.vision import replan, train_vision
from qvlm.schemes import Recipe
from qvlm.search import Installer
from qvlm.vision import apply_tensors
from qvlm.vision.parameters import vision_parameters

Tensors = dict[str, torch.Tensor]


class OptimizedTowers:
    """Trains the tower of every recipe once, as `quantize` would, and keeps it."""

    def __init__(
        self,
        loaded: LoadedModel,
        model_map: ModelMap,
        samples: Sequence[Sample],
        batches: Sequence[Batch],
    ) -> None:
        """Takes the model in full precision and the samples that searches see."""
        self._loaded = loaded
        self._model_map = model_map
        self._samples = samples
        self._batches = batches
        self._observed: dict[str, ActivationStats] = {}
        self._kept: dict[str, Tensors] = {}

    @contextmanager
    def __call__(self, recipe: Recipe, tell: Tell) -> Iterator[Replan | None]:
        """Puts a recipe's tower into the model; yields how to partition with it.

        A recipe without `vision_optimization` leaves the model as it is, and yields None.

        Raises:
            DataError: too few samples have an image.
        """
        if recipe.vision_optimization is None:
            yield None
            return
        original = self._original()
        try:
            tensors, before = self._trained(recipe, tell)
            apply_tensors(self._loaded.model, tensors)
            yield lambda dependency: replan(before, dependency, recipe)
        finally:
            apply_tensors(self._loaded.model, original)

    def _original(self) -> Tensors:
        with_image = [batch for batch in self._batches if batch.has_images]
        if not with_image:
            return {}
        found = vision_parameters(self._loaded.model, self._model_map, with_image[0])
        return {name: parameter.detach().clone() for name, parameter in found.items()}

    def _trained(self, recipe: Recipe, tell: Tell) -> tuple[Tensors, BlockPlan]:
        """The tower that the training keeps, and the blocks of the original one."""
        model, model_map = self._loaded.model, self._model_map
        # How the blocks are formed and searched afterwards does not matter to the training.
        searched = recipe.search.model_copy(update={"strategy": "none"})
        update = {"search": searched, "partition": Recipe().partition}
        key = recipe.model_copy(update=update).model_dump_json()
        if key not in self._observed:
            self._observed[key] = observe(
                model, model_map, recipe, self._batches, partial(tell, "original tower")
            )
        stats = self._observed[key]
        installer = Installer(model, model_map, recipe, stats)
        dependency = measure_dependency(installer, self._batches)
        before = planned(installer, dependency)
        if key not in self._kept:
            trained, *_ = train_vision(
                self._loaded,
                model_map,
                recipe,
                self._samples,
                stats,
                before,
                lambda _name: (stats, dependency),  # the study looks again by itself
                InMemory(),
                lambda stage, done, total, _note="": tell(stage, done, total),
            )
            self._kept[key] = trained.tensors
        return self._kept[key], before
