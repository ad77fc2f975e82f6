"""A recipe whose layers no kernel can run is refused before the work, unless it is allowed."""

from __future__ import annotations

import pytest
from torch import nn

from qvlm.artefacts import ModelMap, Site, Tower
from qvlm.errors import KernelError
from qvlm.pipeline.runnable import check_runnable
from qvlm.schemes import ActivationScheme, LayerScheme, Recipe, WeightScheme


def _recipe(**weights: object) -> Recipe:
    scheme = LayerScheme(
        weights=WeightScheme(bits=8, **weights), activations=ActivationScheme(bits=8)
    )
    return Recipe(language=scheme)


@pytest.fixture
def wide() -> tuple[nn.Module, ModelMap]:
    model = nn.Sequential(nn.Linear(40_000, 2))
    site = Site(
        name="language.0.mlp_in", tower="language", layer=0, role="mlp_in", linears=("0",),
        channels=40_000,
    )  # fmt: skip
    tower = Tower(name="language", layers=("0",))
    return model, ModelMap(architecture="Wide", towers=(tower,), sites=(site,), skipped={})


def test_a_layer_that_no_kernel_runs(wide: tuple[nn.Module, ModelMap]) -> None:
    recipe = _recipe(granularity="per_channel", symmetric=False)
    with pytest.raises(KernelError, match=r"layer '0' would have no kernel.*--allow-fallback"):
        check_runnable(*wide, recipe, allow_fallback=False)
    with pytest.warns(UserWarning, match="layer '0' has no kernel: sums over 40000 channels"):
        check_runnable(*wide, recipe, allow_fallback=True)


def test_groups_make_it_runnable(wide: tuple[nn.Module, ModelMap]) -> None:
    check_runnable(*wide, _recipe(group_size=100, symmetric=False), allow_fallback=False)
