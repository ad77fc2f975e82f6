"""Which recipes a sweep sets side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from qvlm.errors import QvlmError, nearest
from qvlm.schemes import Recipe, load_recipe

Sweep = Literal["depth", "fixed", "percentiles", "eta"]
SWEEPS: tuple[Sweep, ...] = get_args(Sweep)
DEPTHS = (1, 2, 3, 4, 5)
LOWEST_PERCENTILES = (0.99, 0.98, 0.97, 0.95)
ETAS = (0.0, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Variant:
    """One point of a sweep.

    Attributes:
        sweep: what is varied.
        value: to what.
        overrides: the changes of the recipe, as on the command line.
        recipe: the changed recipe.
    """

    sweep: Sweep
    value: float
    overrides: tuple[str, ...]
    recipe: Recipe


def parse_sweeps(text: str) -> tuple[Sweep, ...]:
    """Reads `depth,percentiles` and the like; `none` is no sweep.

    Raises:
        QvlmError: a name is unknown.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if names == ["none"]:
        return ()
    for name in names:
        if name not in SWEEPS:
            raise QvlmError(
                f"unknown sweep '{name}'{nearest(name, SWEEPS)}: give none, or some of "
                f"{','.join(SWEEPS)}"
            )
    return tuple(sweep for sweep in SWEEPS if sweep in names)


def variants(recipe: Recipe, sweeps: Sequence[Sweep]) -> tuple[Variant, ...]:
    """Returns the points of all sweeps, one change of the recipe each.

    `eta` needs a recipe that optimizes the vision tower; other recipes have no such points.
    """
    found = []
    for sweep in sweeps:
        for value in _values(recipe, sweep):
            overrides = _overrides(recipe, sweep, value)
            found.append(Variant(sweep, value, overrides, load_recipe(recipe, overrides)))
    return tuple(found)


def optimizes_vision(recipe: Recipe) -> bool:
    """True where a recipe has a vision optimization, so that there is an eta."""
    return recipe.vision_optimization is not None


def depth_recipe(recipe: Recipe, sweep: Literal["depth", "fixed"], depth: int) -> Recipe:
    """The recipe with blocks of at most (`depth`) or of exactly (`fixed`) that many layers."""
    return load_recipe(recipe, _overrides(recipe, sweep, depth))


def even_percentiles(lowest: float, count: int) -> tuple[float, ...]:
    """`count` percentiles at equal steps from 1.0 down to the lowest."""
    steps = max(count - 1, 1)
    return tuple(round(1 - (1 - lowest) * step / steps, 6) for step in range(steps + 1))


def _values(recipe: Recipe, sweep: Sweep) -> tuple[float, ...]:
    if sweep in ("depth", "fixed"):
        return DEPTHS
    if sweep == "percentiles":
        return LOWEST_PERCENTILES
    return ETAS if optimizes_vision(recipe) else ()


def _overrides(recipe: Recipe, sweep: Sweep, value: float) -> tuple[str, ...]:
    if sweep == "depth":
        return (f"partition.depth={int(value)}",)
    if sweep == "fixed":
        return ("partition.proxy=fixed", f"partition.depth={int(value)}")
    if sweep == "percentiles":
        percentiles = even_percentiles(value, len(recipe.search.percentiles))
        return (f"search.percentiles={list(percentiles)}",)
    return (f"vision_optimization.output_weight={value:g}",)
