"""What a comparison calls static is static, whatever the recipe has."""

from __future__ import annotations

import pytest

from qvlm.schemes import load_recipe
from qvlm.schemes.methods import METHODS, PROPOSED, method_recipe

STATIC = [name for name in METHODS if name not in (PROPOSED, "RTN per token")]


@pytest.mark.parametrize("preset", ["w8a8", "w8a8-dynamic", "w6a6", "w4a4", "w4a4-static"])
@pytest.mark.parametrize("method", STATIC)
def test_methods_with_ranges_have_static_ones(preset: str, method: str) -> None:
    recipe = method_recipe(method, load_recipe(preset))
    for scheme in (recipe.language, recipe.projector):
        assert scheme is not None
        assert scheme.activations.is_static
        assert scheme.weights.rounding == "nearest"
    assert recipe.vision is not None
    assert recipe.vision.activations.granularity == "per_token"


def test_activations_in_floating_point_stay_as_they_are() -> None:
    recipe = load_recipe("w4a16")
    changed = method_recipe("RTN static", recipe)
    assert recipe.language is not None
    assert changed.language is not None
    assert changed.language.activations == recipe.language.activations


def test_ranges_per_token_where_they_are_asked_for() -> None:
    recipe = method_recipe("RTN per token", load_recipe("w4a4"))
    assert recipe.language is not None
    assert recipe.language.activations.granularity == "per_token"
