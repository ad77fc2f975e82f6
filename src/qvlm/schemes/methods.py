"""The methods that a comparison sets side by side, as variations of one recipe."""

from __future__ import annotations

from qvlm.schemes.layer import FLOAT_BITS, LayerScheme
from qvlm.schemes.recipe import Recipe

FULL_PRECISION = "FP"
PROPOSED = "recipe"
"""The method that the others are compared with."""
METHODS = {
    "RTN per token": "nearest rounding, activation ranges computed for every token at run time",
    "RTN static": "nearest rounding, static activations with min-max ranges",
    "layer-wise": "nearest rounding, percentiles searched layer by layer",
    "Q-VLM": "nearest rounding, percentiles searched jointly in entropy-guided blocks",
    PROPOSED: "the recipe as it is",
}
"""Name -> what it does; all from the same bits and weight groups."""
_UNSEARCHED = {"strategy": "none", "start": "minmax"}
_SEARCHED = {"strategy": "coordinate", "start": "lp", "token_weights": "uniform"}


def method_recipe(method: str, recipe: Recipe) -> Recipe:
    """Returns `recipe` changed into one of `METHODS`."""
    if method == PROPOSED:
        return recipe
    towers = {
        name: _plain(name, getattr(recipe, name), per_token=method == "RTN per token")
        for name in ("language", "projector", "vision", "lm_head")
    }
    search = recipe.search.model_copy(update=_UNSEARCHED if method.startswith("RTN") else _SEARCHED)
    proxy = "single_layer" if method == "layer-wise" else "entropy"
    partition = recipe.partition.model_copy(update={"proxy": proxy})
    return recipe.model_copy(
        update={
            "name": method,
            "search": search,
            "partition": partition,
            "vision_optimization": None,
            **towers,
        }
    )


def _plain(tower: str, scheme: LayerScheme | None, per_token: bool) -> LayerScheme | None:
    """The scheme with nearest rounding, its activations per token where asked for.

    Ranges of the moment, per token or group, cannot be searched: they become what the paper has,
    static ones per channel, and per token in the vision tower.
    """
    if scheme is None:
        return None
    weights = scheme.weights.model_copy(update={"rounding": "nearest"})
    activations = scheme.activations
    of_the_moment = activations.bits < FLOAT_BITS and not activations.is_static
    if per_token or (of_the_moment and tower == "vision"):
        activations = activations.model_copy(update={"granularity": "per_token"})
    elif of_the_moment:
        activations = activations.model_copy(update={"granularity": "per_channel"})
    return scheme.model_copy(update={"weights": weights, "activations": activations})
