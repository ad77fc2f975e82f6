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
    "layer-wise": "nearest rounding, percentiles searched layer by layer",
    PROPOSED: "the recipe as it is: percentiles searched jointly in entropy-guided blocks",
}
"""Name -> what it does; all from the same bits and granularities."""


def method_recipe(method: str, recipe: Recipe) -> Recipe:
    """Returns `recipe` changed into one of `METHODS`."""
    if method == PROPOSED:
        return recipe
    recipe = _without_extras(recipe)
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
    partition = recipe.partition.model_copy(update={"proxy": "single_layer"})
    return recipe.model_copy(update={"partition": partition, "name": method})


def _without_extras(recipe: Recipe) -> Recipe:
    """The recipe without what the other methods do not have: rounding, weights, training."""
    towers = {}
    for name in ("language", "projector", "vision", "lm_head"):
        scheme = getattr(recipe, name)
        if scheme is not None:
            weights = scheme.weights.model_copy(update={"rounding": "nearest"})
            towers[name] = scheme.model_copy(update={"weights": weights})
    search = recipe.search.model_copy(update={"token_weights": "uniform"})
    return recipe.model_copy(update={"search": search, "vision_optimization": None, **towers})


def _per_token(scheme: LayerScheme | None) -> LayerScheme | None:
    if scheme is None:
        return None
    activations = scheme.activations.model_copy(update={"granularity": "per_token"})
    return scheme.model_copy(update={"activations": activations})
