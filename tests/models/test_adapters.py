"""The contract that every adapter keeps, checked on a tiny random model per architecture."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from qvlm.artefacts.calibration import IMAGE, Batch
from qvlm.data.batches import calibration_batches
from qvlm.errors import ModelError, NothingMatchedError, RecipeError
from qvlm.models import describe
from qvlm.models.logits import answer_logits
from qvlm.models.registry import ADAPTERS, adapter_for
from qvlm.models.replay import catch_inputs, catch_tower, run_layer
from qvlm.schemes import LayerScheme, Recipe, WeightScheme, load_recipe
from tiny.batches import tiny_samples
from tiny.families import FAMILIES, Family, built_family
from tiny.llava import tiny_llava


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> Family:
    return built_family(request.param)


@pytest.fixture(scope="module")
def batches(family: Family, tmp_path_factory: pytest.TempPathFactory) -> list[Batch]:
    samples = family.usable(tiny_samples(tmp_path_factory.mktemp("data")))
    return calibration_batches(samples, family.processor, batch_size=2)


def test_every_architecture_has_a_tiny_model() -> None:
    assert {built_family(name).model.config.model_type for name in FAMILIES} == set(ADAPTERS)


def test_every_linear_is_in_one_site_or_skipped_with_a_reason(family: Family) -> None:
    model_map = describe(family.model, Recipe())
    linears = {
        name for name, module in family.model.named_modules() if isinstance(module, nn.Linear)
    }
    in_sites = [linear for site in model_map.sites for linear in site.linears]
    assert len(in_sites) == len(set(in_sites))
    assert not set(in_sites) & set(model_map.skipped)
    assert set(in_sites) | set(model_map.skipped) >= linears
    assert all(model_map.skipped.values())
    others = {name: why for name, why in model_map.skipped.items() if name not in linears}
    assert set(others.values()) <= {
        "routes tokens to experts: stays in full precision",
        "a bare matrix, not a linear layer",
    }
    for kind in ("vision", "projector", "language"):
        quantized = [site for site in model_map.sites if site.tower.startswith(kind)]
        assert bool(quantized) == (kind not in family.without), kind


def test_sites_run_in_order_and_linears_of_a_site_read_the_same_tensor(
    family: Family, batches: list[Batch]
) -> None:
    seen: dict[str, torch.Tensor] = {}
    model_map = describe(family.model, family.recipe)
    handles = [
        family.model.get_submodule(path).register_forward_pre_hook(
            lambda _module, args, path=path: seen.__setitem__(path, args[0])
        )
        for path in model_map.site_of_linear
    ]
    with torch.no_grad():
        family.model(**batches[0].inputs)
    for handle in handles:
        handle.remove()
    reached = [site for site in model_map.sites if site.linears[0] in seen]
    missing = [site for site in model_map.sites if site.linears[0] not in seen]
    assert all(site.expert is not None for site in missing)
    for site in reached:
        assert all(seen[path] is seen[site.linears[0]] for path in site.linears), site.name
        assert seen[site.linears[0]].shape[-1] == site.channels
    order = [site.name for path in seen for site in reached if site.linears[0] == path]
    by_tower = {tower.name: [] for tower in model_map.towers}
    for name in order:
        by_tower[name.partition(".")[0]].append(name)
    assert [name for names in by_tower.values() for name in names] == [s.name for s in reached]


def test_replayed_layers_give_the_model_s_own_logits(family: Family, batches: list[Batch]) -> None:
    model, towers = family.model, describe(family.model, family.recipe).towers
    heads: list[torch.Tensor] = []  # Cohere scales what the head says
    for batch in batches:
        caught = catch_inputs(model, towers, batch)
        outputs = {}
        for tower in towers:
            if tower.name not in caught:
                continue
            alone = catch_tower(model, tower, batch)
            assert alone is not None
            assert set(alone.arguments) == set(caught[tower.name].arguments)
            assert torch.equal(alone.hidden, caught[tower.name].hidden)
            for call in (caught[tower.name], alone):
                hidden = call.hidden
                for index in range(len(tower.layers)):
                    hidden = run_layer(model, tower, index, call, hidden)
                outputs.setdefault(tower.name, hidden)
                torch.testing.assert_close(hidden, outputs[tower.name], rtol=1e-5, atol=1e-5)
        with torch.no_grad():
            handle = model.get_output_embeddings().register_forward_hook(
                lambda _module, _args, out: heads.append(out)
            )
            model(**batch.inputs)
            handle.remove()
        torch.testing.assert_close(outputs["head"], heads.pop(), rtol=1e-5, atol=1e-5)
        assert ("vision" in outputs) == batch.has_images


def test_a_quantized_layer_changes_the_replay_as_it_changes_the_model(
    family: Family, batches: list[Batch]
) -> None:
    """Residues that a model adds between layers must not hide what a layer before them does."""
    model = family.model
    tower = describe(model, family.recipe).tower("language")
    first = model.get_submodule(tower.layers[0])
    call = catch_tower(model, tower, batches[0])
    handle = first.register_forward_hook(
        lambda _module, _args, out: (
            (out[0] * 1.1, *out[1:]) if isinstance(out, tuple) else out * 1.1
        )
    )
    last: list[torch.Tensor] = []
    stop = model.get_submodule(tower.layers[-1]).register_forward_hook(
        lambda _module, _args, out: last.append(out[0] if isinstance(out, tuple) else out)
    )
    with torch.no_grad():
        model(**batches[0].inputs)
    stop.remove()
    hidden = call.hidden
    for index in range(len(tower.layers)):
        hidden = run_layer(model, tower, index, call, hidden)
    handle.remove()
    torch.testing.assert_close(hidden, last[0], rtol=1e-5, atol=1e-5)


def test_the_modality_mask_marks_the_image_tokens(family: Family, batches: list[Batch]) -> None:
    config = family.model.config
    ids = [getattr(config, name, None) for name in ("image_token_id", "image_token_index")]
    image_id = next((i for i in ids if i is not None), family.processor.image_token_ids[0])
    for batch in batches:
        image = batch.inputs["input_ids"] == image_id
        assert torch.equal(batch.modality == IMAGE, image)
        real_images = batch.has_images and bool(batch.inputs["pixel_values"].any())
        assert bool(image.any(dim=1).all()) == real_images
        assert torch.equal(batch.valid, batch.inputs["attention_mask"].bool())


def test_logits_at_the_answers_are_the_model_s_own(family: Family, batches: list[Batch]) -> None:
    for batch in batches:
        with torch.no_grad():
            expected = family.model(**batch.inputs).logits[batch.predicts_answer]
        torch.testing.assert_close(
            answer_logits(family.model, batch), expected, rtol=1e-4, atol=1e-5
        )


def test_vision_layers_that_nobody_reads_are_left_out() -> None:
    model, _ = tiny_llava(vision_layers=3)  # vision_feature_layer is -2
    model_map = describe(model, Recipe())
    assert len(model_map.tower("vision").layers) == 2
    unused = {path: why for path, why in model_map.skipped.items() if "layers.2" in path}
    assert len(unused) == 6
    assert set(unused.values()) == {"above vision_feature_layer -2"}


def test_unknown_architectures_are_refused_with_the_nearest_name() -> None:
    with pytest.raises(
        ModelError, match=r"'lava' .*did you mean 'llava'.*supported: .*llava.*add-an"
    ):
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
    with pytest.warns(UserWarning, match="linears of input width .* have groups of 32, since 48"):
        describe(model, Recipe(vision=scheme, group_size_fallback="largest_divisor"))


def test_a_head_tied_to_the_embeddings_is_not_quantized() -> None:
    model, _ = tiny_llava()
    model.lm_head.weight = model.get_input_embeddings().weight
    with pytest.raises(RecipeError, match=r"lm_head shares its weights.*: set lm_head to null"):
        describe(model, Recipe(lm_head=LayerScheme()))
    with pytest.raises(RecipeError, match="set lm_head and embeddings to null"):
        describe(model, load_recipe("w4a4-small"))


def test_a_head_that_is_more_than_a_linear_layer_is_not_quantized() -> None:
    model, _ = FAMILIES["idefics"]()
    with pytest.raises(RecipeError, match=r"IdeficsDecoupledLinear.*set lm_head to null"):
        describe(model, Recipe(lm_head=LayerScheme()))
