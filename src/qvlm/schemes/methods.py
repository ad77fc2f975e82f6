"""The methods that a comparison sets side by side, as variations of one recipe."""

from __future__ import annotations

from qvlm.schemes.layer import LayerScheme
from qvlm.schemes.recipe import Recipe

FULL_PRECISION = "FP"
PROPOSED = "Q-VLM"
"""The method that the others are compared with."""
METHODS = {
    "RTN per token": "nearest rounding, activation ranges computed for every token at run time",
    "RTN static": "nearest rounding, the recipe's activations with min-max ranges",
    "layer-wise": "percentiles searched layer by layer",
    PROPOSED: "percentiles searched jointly in entropy-guided blocks",
}
"""Name -> what it does; all from the same bits and granularities."""


def method_recipe(method: str, recipe: Recipe) -> Recipe:
    """Returns `recipe` changed into one of `METHODS`."""
    search = recipe.search
    untouched = search.model_copy(update={"strategy": "none", "start": "minmax"})
    if method == "RTN per token":
        towers = {
            name: _per_token(getattr(recipe, name))
            for name in ("language", "projector", "vision", "lm_head")
        }
        return recipe.model_copy(update={"search": untouched, "name": method, **towers})
    if method == "RTN static":
        return recipe.model_copy(update={"search": untouched, "name": method})
    if method == "layer-wise":
        partition = recipe.partition.model_copy(update={"proxy": "single_layer"})
        return recipe.model_copy(update={"partition": partition, "name": method})
    return recipe


def _per_token(scheme: LayerScheme | None) -> LayerScheme | None:
    if scheme is None:
        return None
    activations = scheme.activations.model_copy(update={"granularity": "per_token"})
    return scheme.model_copy(update={"activations": activations})
