"""Search by many recipes on one model, and keep what each search led to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial

from torch import nn

from qvlm.analysis.errors import LayerBySample, layer_errors
from qvlm.analysis.quality import Judge
from qvlm.artefacts import BlockPlan, ClipPlan, Dependency, ModelMap
from qvlm.artefacts.analysis import Quality
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.statistics import ActivationStats
from qvlm.observe import observe
from qvlm.partition import plan_blocks
from qvlm.schemes import Recipe
from qvlm.search import Installer, search

LANGUAGE = "language"
Tell = Callable[[str, int, int], None]
"""(stage, done, total)."""
Replan = Callable[[Dependency], BlockPlan]
"""Partitions by thresholds that were set before the model was changed."""
Prepare = Callable[[Recipe, Tell], AbstractContextManager[Replan | None]]
"""Changes the full-precision model as a recipe asks before it is observed, and back after."""


@dataclass(frozen=True)
class Searched:
    """What one search led to.

    Attributes:
        plan: its blocks.
        clips: its percentiles and cost.
        errors: of the language model, on the calibration samples.
        quality: on held-out samples.
    """

    plan: BlockPlan
    clips: ClipPlan
    errors: LayerBySample
    quality: Quality


@dataclass
class Study:
    """One model and its samples; recipes that lead to the same blocks share a search.

    There is no guard: a fallback to the start would hide what a search does.

    Attributes:
        model: in full precision, and left so.
        model_map: its towers and sites, the same for all recipes.
        batches: calibration samples of all searches.
        judge: measures the quality on held-out samples.
        dependency: measures what a recipe's partition reads.
        prepare: see `Prepare`; by default nothing is changed.
    """

    model: nn.Module
    model_map: ModelMap
    batches: Sequence[Batch]
    judge: Judge
    dependency: Callable[[Installer, Sequence[Batch]], Dependency]
    prepare: Prepare = lambda _recipe, _tell: nullcontext()
    _observed: dict[str, ActivationStats] = field(default_factory=dict)
    _searched: dict[str, Searched] = field(default_factory=dict)

    def observed(self, recipe: Recipe, tell: Tell) -> ActivationStats:
        """Statistics of the model, which is as the recipe prepares it; observed once."""
        # Neither blocks nor strategy change what is observed.
        searched = recipe.search.model_copy(update={"strategy": "none"})
        update = {"partition": Recipe().partition, "search": searched}
        key = recipe.model_copy(update=update).model_dump_json()
        if key not in self._observed:
            self._observed[key] = observe(
                self.model, self.model_map, recipe, self.batches, partial(tell, "observe")
            )
        return self._observed[key]

    def searched(self, recipe: Recipe, tell: Tell) -> Searched:
        """Searches as a recipe says, measures, and puts the model back."""
        with self.prepare(recipe, tell) as replan:
            installer = self.installer(recipe, tell)
            dependency = self.dependency(installer, self.batches)
            plan = planned(installer, dependency) if replan is None else replan(dependency)
            blocks = [tower.blocks for tower in plan.towers]
            same = recipe.model_copy(update={"partition": Recipe().partition})
            key = f"{same.model_dump_json()} {blocks}"
            if key not in self._searched:
                self._searched[key] = self._search(installer, plan, tell)
        return self._searched[key]

    def _search(self, installer: Installer, plan: BlockPlan, tell: Tell) -> Searched:
        try:
            clips = search(installer, plan, self.batches, (), partial(tell, "search"))
            tower = self.model_map.tower(LANGUAGE)
            errors = layer_errors(installer, tower, self.batches)
            quality = self.judge(self.model)
        finally:
            installer.restore()
        return Searched(plan, clips, errors, quality)

    def installer(self, recipe: Recipe, tell: Tell) -> Installer:
        """What quantizes the sites of the model, which is as the recipe prepares it."""
        return Installer(self.model, self.model_map, recipe, self.observed(recipe, tell))


def planned(installer: Installer, dependency: Dependency) -> BlockPlan:
    """The blocks of every tower that has sites, as the recipe partitions them."""
    layers = installer.model_map.quantized_layers
    return plan_blocks(layers, dependency.towers, installer.recipe.partition)
