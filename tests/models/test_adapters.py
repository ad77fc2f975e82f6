"""The contract that every adapter keeps, checked on a tiny random model per architecture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from qvlm.artefacts.calibration import Batch
from qvlm.errors import ModelError, NothingMatchedError, RecipeError
from qvlm.models import describe
from qvlm.models.registry import ADAPTERS, adapter_for
from qvlm.models.replay import catch_first_hidden, catch_inputs, run_layer
from qvlm.schemes import LayerScheme, Recipe, WeightScheme
from tiny.batches import tiny_batches
from tiny.llava import tiny_llava

BUILDERS = {"llava": tiny_llava}


@pytest.fixture(params=sorted(ADAPTERS))
def architecture(request: pytest.FixtureRequest) -> Any:
    return BUILDERS[request.param]()


@pytest.fixture
def batches(architecture: Any, tmp_path: Path) -> list[Batch]:
    return tiny_batches(tmp_path / "data", architecture[1])


def test_every_architecture_has_a_tiny_builder() -> None:
    assert set(BUILDERS) == set(ADAPTERS)


def test_every_linear_is_in_one_site_or_skipped_with_a_reason(architecture: Any) -> None:
    model, _ = architecture
    model_map = describe(model, Recipe())
    linears = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    in_sites = [linear for site in model_map.sites for linear in site.linears]
    assert len(in_sites) == len(set(in_sites))
    assert set(in_sites) | set(model_map.skipped) == set(linears)
    assert not set(in_sites) & set(model_map.skipped)
    assert all(model_map.skipped.values())


def test_linears_of_a_site_read_the_same_tensor(architecture: Any, batches: list[Batch]) -> None:
    model, _ = architecture
    seen: dict[str, torch.Tensor] = {}
    model_map = describe(model, Recipe(lm_head=LayerScheme()))
    for path in model_map.site_of_linear:
        model.get_submodule(path).register_forward_pre_hook(
            lambda _module, args, path=path: seen.__setitem__(path, args[0])
        )
    with torch.no_grad():
        model(**batches[0].inputs)
    for site in model_map.sites:
        assert all(seen[path] is seen[site.linears[0]] for path in site.linears), site.name
        assert seen[site.linears[0]].shape[-1] == site.channels


def test_replayed_layers_give_the_model_s_own_logits(
    architecture: Any, batches: list[Batch]
) -> None:
    model, _ = architecture
    towers = describe(model, Recipe(lm_head=LayerScheme())).towers
    for batch in batches:
        caught = catch_inputs(model, towers, batch)
        outputs = {}
        for tower in towers:
            if tower.name in caught:
                hidden = catch_first_hidden(model, tower, batch)
                assert torch.equal(hidden, caught[tower.name].hidden)
                for index in range(len(tower.layers)):
                    hidden = run_layer(model, tower, index, caught[tower.name], hidden)
                outputs[tower.name] = hidden
        with torch.no_grad():
            logits = model(**batch.inputs).logits
        assert torch.equal(outputs["head"], logits)
        has_image = "pixel_values" in batch.inputs
        assert ("vision" in outputs) == ("projector" in outputs) == has_image


def test_vision_layers_that_nobody_reads_are_left_out() -> None:
    model, _ = tiny_llava(vision_layers=3)  # vision_feature_layer is -2
    model_map = describe(model, Recipe())
    assert len(model_map.tower("vision").layers) == 2
    unused = {path: why for path, why in model_map.skipped.items() if "layers.2" in path}
    assert len(unused) == 6
    assert set(unused.values()) == {"above vision_feature_layer -2"}


def test_unknown_architectures_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(ModelError, match=r"'lava' .*did you mean 'llava'.*supported: llava"):
        adapter_for("lava")


def test_excluded_layers_and_null_towers_are_skipped_with_the_reason() -> None:
    model, _ = tiny_llava()
    recipe = Recipe(vision=None, exclude=(r"layers\.0\.self_attn\.v_proj",))
    model_map = describe(model, recipe)
    assert not model_map.sites_of("vision")
    reasons = model_map.skipped
    excluded = "model.language_model.layers.0.self_attn.v_proj"
    assert reasons[excluded] == r"recipe: excluded by 'layers\.0\.self_attn\.v_proj'"
    assert reasons["model.vision_tower.encoder.layers.0.mlp.fc1"] == "recipe: vision is null"
    site = next(site for site in model_map.sites if site.name == "language.0.attn_in")
    assert len(site.linears) == 2


def test_a_pattern_that_matches_nothing_is_warned_of() -> None:
    model, _ = tiny_llava()
    with pytest.warns(UserWarning, match="'nowhere' matches no layer"):
        describe(model, Recipe(exclude=("nowhere",)))


def test_a_recipe_that_leaves_nothing_is_an_error() -> None:
    model, _ = tiny_llava()
    with pytest.raises(NothingMatchedError, match="leaves nothing to quantize"):
        describe(model, Recipe(exclude=(".*",)))


def test_a_group_size_that_does_not_divide_names_layer_and_way_out() -> None:
    model, _ = tiny_llava()
    scheme = LayerScheme(weights=WeightScheme(group_size=48))
    with pytest.raises(RecipeError, match=r"layers\.0\.self_attn\.q_proj: group size 48 .* 64"):
        describe(model, Recipe(vision=scheme))
    describe(model, Recipe(vision=scheme, group_size_fallback="largest_divisor"))


def test_a_head_tied_to_the_embeddings_is_not_quantized() -> None:
    model, _ = tiny_llava()
    model.lm_head.weight = model.get_input_embeddings().weight
    with pytest.raises(RecipeError, match="lm_head shares its weights"):
        describe(model, Recipe(lm_head=LayerScheme()))
