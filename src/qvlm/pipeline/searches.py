"""The parts of an analysis that need searches, as fields of the analysis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any, Literal

from qvlm.analysis.links import study_links
from qvlm.analysis.study import LANGUAGE, Searched, Study
from qvlm.analysis.sweeps import Sweep, Variant, depth_recipe, variants
from qvlm.artefacts import Dependency
from qvlm.artefacts.analysis import LayerErrors, SearchPoint
from qvlm.pipeline.dependency import measure_dependency
from qvlm.pipeline.progress import Progress, prefixed
from qvlm.schemes import Recipe, load_recipe

ERROR_DEPTHS = (1, 2, 3)


@dataclass(frozen=True)
class Searches:
    """The parts of an analysis that need searches or the dependency."""

    study: Study
    recipe: Recipe
    has_image: tuple[bool, ...]
    progress: Progress

    def comparison(self) -> dict[str, Any]:
        """Layer-wise and joint search, and their links, as fields of the analysis."""
        layerwise = self._found(depth_recipe(self.recipe, "depth", 1), "layer-wise")
        joint = self._found(self.recipe, "joint")
        start = self._found(load_recipe(self.recipe, ("search.strategy=none",)), "start")
        ded = [
            tuple(a - b for a, b in zip(*rows, strict=True))
            for rows in zip(layerwise.errors, joint.errors, strict=True)
        ]
        tower = self.study.model_map.tower(LANGUAGE)
        with self.study.prepare(self.recipe, self.progress):
            installer = self.study.installer(self.recipe, self.progress)
            tell = partial(self.progress, "links")
            batches = self.study.batches
            links = study_links(installer, tower, batches, self.has_image, ded, tell)
        (plan,) = [plan for plan in joint.plan.towers if plan.tower == LANGUAGE]
        return {
            "start": start.quality,
            "layerwise_errors": layerwise.errors,
            "joint_errors": joint.errors,
            "blocks": tuple((block.start, block.stop) for block in plan.blocks),
            "links": links,
        }

    def proxies(self) -> dict[str, Any]:
        """Both dependencies of the language model and their costs, as fields of the analysis."""
        found: dict[str, Dependency] = {}
        for proxy in ("entropy", "quantization_error"):
            recipe = load_recipe(self.recipe, (f"partition.proxy={proxy}",))
            with self.study.prepare(self.recipe, self.progress):
                installer = self.study.installer(recipe, self.progress)
                tell = partial(self.progress, proxy)
                found[proxy] = measure_dependency(installer, self.study.batches, tell)
        return {
            **{name: proxy.towers[LANGUAGE] for name, proxy in found.items()},
            "proxy_seconds": {name: proxy.seconds for name, proxy in found.items()},
            "proxy_forward_equivalents": {
                name: proxy.forward_equivalents for name, proxy in found.items()
            },
        }

    def depth_errors(self) -> tuple[LayerErrors, ...]:
        """Error per layer for blocks as the recipe joins them, and for runs of layers."""
        joined = [self._layer_errors("depth", depth) for depth in ERROR_DEPTHS]
        runs = [self._layer_errors("fixed", depth) for depth in ERROR_DEPTHS if depth > 1]
        return (*joined, *runs)

    def points(self, sweeps: Sequence[Sweep]) -> tuple[SearchPoint, ...]:
        """Cost and quality at every point of the sweeps."""
        return tuple(
            _point(variant, self._found(variant.recipe, f"{variant.sweep} {variant.value:g}"))
            for variant in variants(self.recipe, sweeps)
        )

    def _layer_errors(self, sweep: Literal["depth", "fixed"], depth: int) -> LayerErrors:
        searched = self._found(depth_recipe(self.recipe, sweep, depth), f"{sweep} {depth}")
        return LayerErrors(
            partition="recipe" if sweep == "depth" else "fixed",
            depth=depth,
            errors=tuple(fmean(row) for row in searched.errors),
        )

    def _found(self, recipe: Recipe, name: str) -> Searched:
        return self.study.searched(recipe, prefixed(self.progress, name))


def _point(variant: Variant, searched: Searched) -> SearchPoint:
    return SearchPoint(
        sweep=variant.sweep,
        value=variant.value,
        overrides=variant.overrides,
        blocks=sum(len(tower.blocks) for tower in searched.plan.towers),
        forward_equivalents=searched.clips.forward_equivalents,
        seconds=searched.clips.seconds,
        quality=searched.quality,
    )
