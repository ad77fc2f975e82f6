"""Statistics of a tiny model against what plain hooks and a sort would say."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from qvlm.artefacts import ModelMap
from qvlm.artefacts.calibration import Batch
from qvlm.errors import DataError
from qvlm.models import describe
from qvlm.models.replay import TOKEN_TOWERS
from qvlm.numerics.affine import grid_from_range
from qvlm.numerics.clipping import clip_error
from qvlm.numerics.entropy import JointHistogram
from qvlm.observe import observe
from qvlm.observe import tower as tower_module
from qvlm.observe.collectors import PairCollector
from qvlm.observe.tails import leading_sites
from qvlm.schemes import ActivationScheme, LayerScheme, Recipe
from tiny.batches import tiny_batches
from tiny.counting import layers_that_compute
from tiny.llava import tiny_llava

PER_TOKEN = LayerScheme(activations=ActivationScheme(granularity="per_token"))
PER_TENSOR = LayerScheme(activations=ActivationScheme(granularity="per_tensor"))


@pytest.fixture(scope="module")
def model_and_batches(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[Batch]]:
    model, processor = tiny_llava()
    return model, tiny_batches(tmp_path_factory.mktemp("data") / "set", processor)


def values_of(model: Any, model_map: ModelMap, batches: list[Batch]) -> dict[str, torch.Tensor]:
    """Site -> every value it read, padding left out, [tokens, channels]."""
    rows: dict[str, list[torch.Tensor]] = {site.name: [] for site in model_map.sites}
    for batch in batches:
        handles = []
        for site in model_map.sites:

            def keep(_module: Any, args: Any, site: Any = site, batch: Batch = batch) -> None:
                x = args[0][batch.valid] if site.tower in TOKEN_TOWERS else args[0].flatten(0, -2)
                rows[site.name].append(x)

            linear = model.get_submodule(site.linears[-1])
            handles.append(linear.register_forward_pre_hook(keep))
        with torch.no_grad():
            model(**batch.inputs)
        for handle in handles:
            handle.remove()
    return {name: torch.cat(parts) for name, parts in rows.items()}


def test_ranges_and_errors_are_those_of_all_values(model_and_batches: Any) -> None:
    model, batches = model_and_batches
    recipe = Recipe(projector=PER_TENSOR)
    model_map = describe(model, recipe)
    stats = observe(model, model_map, recipe, batches)
    for name, x in values_of(model, model_map, batches).items():
        site = stats.sites[name]
        flat = x.reshape(-1, 1) if name.startswith("projector") else x
        ordered = flat.sort(dim=0).values
        for row, p in enumerate(stats.percentiles):
            rank = math.ceil(round(p * len(ordered), 6)) - 1
            assert torch.equal(site.upper[row], ordered[rank]), (name, p)
            assert torch.equal(site.lower[row], ordered[len(ordered) - 1 - rank]), (name, p)
        expected = clip_error(x, site.lower, site.upper, 4, False, 2.4) / x.numel()
        torch.testing.assert_close(site.lp_error, expected)
        assert site.tokens == len(x)


def test_dependency_is_the_conditional_entropy_of_consecutive_inputs(
    model_and_batches: Any,
) -> None:
    model, batches = model_and_batches
    recipe = Recipe(vision=PER_TOKEN)
    model_map = describe(model, recipe)
    stats = observe(model, model_map, recipe, batches)
    seen = values_of(model, model_map, batches)
    for tower in ("vision", "language"):
        layers = len(model_map.tower(tower).layers)
        assert len(stats.dependency[tower]) == layers - 1
        for k, value in enumerate(stats.dependency[tower]):
            pair = [seen[f"{tower}.{layer}.attn_in"] for layer in (k, k + 1)]
            grids = [grid_from_range(x.amin(0), x.amax(0), 4) for x in pair]
            histogram = JointHistogram(16)
            histogram.update(*pair, *grids)
            assert value == pytest.approx(histogram.conditional_entropy(), abs=1e-6)
    assert stats.dependency["projector"] == ()


def test_per_token_sites_have_no_range(model_and_batches: Any) -> None:
    model, batches = model_and_batches
    recipe = Recipe(vision=PER_TOKEN, projector=None)
    stats = observe(model, describe(model, recipe), recipe, batches)
    assert {name.split(".")[0] for name in stats.sites} == {"language"}


def test_the_cut_into_batches_does_not_matter(tmp_path: Path) -> None:
    model, processor = tiny_llava()
    recipe = Recipe(vision=PER_TOKEN)
    model_map = describe(model, recipe)
    one, many = (
        observe(model, model_map, recipe, tiny_batches(tmp_path / str(n), processor, n))
        for n in (1, 3)
    )
    for name, site in one.sites.items():
        torch.testing.assert_close(site.lower, many.sites[name].lower)
        torch.testing.assert_close(site.lp_error, many.sites[name].lp_error, rtol=1e-4, atol=0)
    assert one.dependency["language"] == pytest.approx(many.dependency["language"], abs=1e-4)


def test_layers_run_are_counted(model_and_batches: Any) -> None:
    model, batches = model_and_batches
    batches = [batch for batch in batches if "pixel_values" in batch.inputs]
    recipe = Recipe()
    model_map = describe(model, recipe)
    with layers_that_compute(model, model_map) as ran:
        stats = observe(model, model_map, recipe, batches)
    layers = stats.forward_equivalents * model_map.layer_count
    assert layers == pytest.approx(len(ran) / len(batches))
    # Two passes, and what reaches each tower.
    assert 2 <= stats.forward_equivalents < 4


def test_memory_of_the_dependency_does_not_grow_with_samples(model_and_batches: Any) -> None:
    model, _ = model_and_batches
    recipe = Recipe()
    model_map = describe(model, recipe)
    schemes = {site.name: LayerScheme().activations for site in model_map.sites}
    leaders = leading_sites(model_map)
    extremes = {
        name: (-torch.ones(1, site.channels), torch.ones(1, site.channels))
        for name, site in leaders.items()
    }
    pairs = PairCollector(model_map, schemes, extremes)

    def held() -> int:
        links = pairs._histograms.values()
        tables = [histogram.sums for link in links for histogram in link.values()]
        waiting = [x for _, _, x in pairs._earlier.values()]
        return sum(tensor.nbytes for tensor in [*tables, *waiting])

    sizes = []
    for _ in range(3):
        for name, site in leaders.items():
            pairs.see(name, torch.rand(50, site.channels))
        sizes.append(held())
    # 2 links of the language model and 1 of the vision tower, 16 x 16 doubles each.
    assert sizes == [3 * 16 * 16 * 8] * 3


def test_a_tower_without_samples_is_an_error(model_and_batches: Any) -> None:
    model, batches = model_and_batches
    text = [batch for batch in batches if "pixel_values" not in batch.inputs]
    recipe = Recipe()
    with pytest.raises(DataError, match=r"never reached 'vision\.0\.attn_in'.*images"):
        observe(model, describe(model, recipe), recipe, text)


def test_channels_that_are_always_zero_are_told_of(model_and_batches: Any) -> None:
    model, batches = tiny_llava()[0], model_and_batches[1]
    with torch.no_grad():
        model.model.language_model.layers[1].input_layernorm.weight[:5] = 0
    recipe = Recipe(vision=PER_TOKEN)
    with pytest.warns(UserWarning, match=r"5 of 64 channels of 'language\.1\.attn_in' are zero"):
        stats = observe(model, describe(model, recipe), recipe, batches)
    assert math.isfinite(stats.sites["language.1.attn_in"].lp_error.sum())


def test_means_of_many_positions_look_at_some_of_them(
    model_and_batches: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batches = model_and_batches
    recipe = Recipe()
    model_map = describe(model, recipe)
    whole = observe(model, model_map, recipe, batches)
    monkeypatch.setattr(tower_module, "MEAN_POSITIONS", 100)
    some = observe(model, model_map, recipe, batches)
    name = "language.1.attn_in"
    assert some.sites[name].tokens == whole.sites[name].tokens > 300
    assert torch.equal(some.sites[name].upper, whole.sites[name].upper)
    assert not torch.equal(some.sites[name].lp_error, whole.sites[name].lp_error)
    assert torch.allclose(some.sites[name].lp_error, whole.sites[name].lp_error, rtol=0.3)
    assert some.dependency["language"] != whole.dependency["language"]
    assert some.dependency["language"] == pytest.approx(whole.dependency["language"], abs=0.1)
