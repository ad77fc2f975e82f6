"""Which recipes can be carried out with the layers on disk."""

from __future__ import annotations

from qvlm.errors import RecipeError
from qvlm.schemes import Recipe


def check_streamable(recipe: Recipe, advice: str) -> None:
    """Raises RecipeError where a recipe needs the whole model in memory, naming what does.

    Args:
        recipe: the recipe.
        advice: what else to do than to change it.
    """
    needs = {
        f"search.strategy={recipe.search.strategy}": recipe.search.strategy != "none",
        "vision_optimization": recipe.vision_optimization is not None,
        "rounding.token_weights=gradient": recipe.rounding.token_weights == "gradient",
        "partition.proxy=quantization_error": recipe.partition.proxy == "quantization_error",
        "calibration.guard_fraction above 0": recipe.guard_fraction > 0,
    }
    for name, needed in needs.items():
        if needed:
            raise RecipeError(
                f"{name} needs the whole model in memory: {advice}, or change the recipe"
            )
