from __future__ import annotations

import pytest

from qvlm.analysis.sweeps import even_percentiles, parse_sweeps, variants
from qvlm.errors import QvlmError
from qvlm.schemes import Recipe, VisionOptimizationSettings


def test_percentiles_fall_evenly():
    assert even_percentiles(0.98, 5) == (1.0, 0.995, 0.99, 0.985, 0.98)
    assert even_percentiles(0.95, 3) == (1.0, 0.975, 0.95)


def test_every_point_changes_one_field():
    recipe = Recipe()
    points = variants(recipe, ("depth", "fixed", "percentiles"))
    assert [(p.sweep, p.value) for p in points] == [
        *(("depth", d) for d in range(1, 6)), *(("fixed", d) for d in range(1, 6)),
        *(("percentiles", p) for p in (0.99, 0.98, 0.97, 0.95)),
    ]  # fmt: skip
    assert [p.recipe.partition.depth for p in points[:5]] == [1, 2, 3, 4, 5]
    assert {p.recipe.partition.proxy for p in points[5:10]} == {"fixed"}
    assert points[2].recipe == recipe == points[11].recipe
    assert points[13].recipe.search.percentiles == (1.0, 0.9875, 0.975, 0.9625, 0.95)


def test_eta_needs_a_recipe_that_optimizes_the_vision_tower():
    assert variants(Recipe(), ("eta",)) == ()
    points = variants(Recipe(vision_optimization=VisionOptimizationSettings()), ("eta",))
    assert [p.value for p in points] == [0.0, 0.5, 1.0, 2.0]
    weights = [p.recipe.vision_optimization.output_weight for p in points]
    assert weights == [0.0, 0.5, 1.0, 2.0]


def test_sweeps_are_read_in_any_order():
    assert parse_sweeps("percentiles, depth") == ("depth", "percentiles")
    assert parse_sweeps("none") == ()


@pytest.mark.parametrize("text", ["dept", "depth,dept", "none,depth"])
def test_an_unknown_sweep_is_named(text):
    with pytest.raises(QvlmError, match=r"unknown sweep '(dept|none)'.*: give none, or some of"):
        parse_sweeps(text)
