"""Experts as linears: the same memory, the same function, ranges of their own or of their layer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from qvlm.artefacts import Site
from qvlm.data.batches import calibration_batches
from qvlm.models import describe
from qvlm.models.experts import LinearExperts, split_experts
from qvlm.observe import observe
from qvlm.schemes import ActivationScheme, LayerScheme, Recipe
from qvlm.schemes.recipe import CalibrationSettings
from tiny.batches import tiny_batches, tiny_samples
from tiny.families import FAMILIES, built_family

MIXTURES = [name for name in FAMILIES if name.endswith(("_moe", "mixtral", "olmoe"))]
STATIC = LayerScheme(activations=ActivationScheme(bits=8, granularity="per_channel"))


@pytest.mark.parametrize("name", MIXTURES)
@torch.no_grad()
def test_split_experts_are_the_fused_ones_in_the_same_memory(name: str, tmp_path: Path) -> None:
    model, processor = FAMILIES[name]()
    (batch, *_) = calibration_batches(tiny_samples(tmp_path), processor, batch_size=2)
    fused = {
        parameter.data_ptr()
        for path, parameter in model.named_parameters()
        if path.endswith(("experts.gate_up_proj", "experts.down_proj"))
    }
    expected = model(**batch.inputs).logits
    split_experts(model)
    torch.testing.assert_close(model(**batch.inputs).logits, expected, rtol=1e-5, atol=1e-5)
    modules = [part for part in model.modules() if isinstance(part, LinearExperts)]
    assert modules
    stores = {
        parameter.untyped_storage().data_ptr()
        for part in modules
        for parameter in part.parameters()
    }
    assert stores == fused
    assert all(part.rows is None for part in modules)


@pytest.mark.parametrize("name", MIXTURES)
def test_routers_stay_in_full_precision_and_are_told_of(name: str) -> None:
    model_map = describe(built_family(name).model, Recipe())
    routers = [path for path, why in model_map.skipped.items() if why.startswith("routes tokens")]
    layers = len(model_map.tower("language").layers)
    assert len([path for path in routers if path.endswith("mlp.gate.weight")]) == layers
    experts = [site for site in model_map.sites if site.expert is not None]
    assert len(experts) == layers * 4 * 2


def _expert_sites(name: str) -> list[Site]:
    sites = describe(built_family(name).model, Recipe()).sites
    return [site for site in sites if site.expert is not None and site.layer == 0]


def _stats(name: str, root: Path, expert_tokens: int):
    family = built_family(name)
    settings = CalibrationSettings(expert_tokens=expert_tokens)
    recipe = Recipe(vision=None, projector=None, language=STATIC, calibration=settings)
    model_map = describe(family.model, recipe)
    batches = tiny_batches(root, family.processor)
    return observe(family.model, model_map, recipe, batches), batches


@pytest.mark.filterwarnings("ignore:.* are zero in all calibration samples")
def test_experts_see_the_tokens_routed_to_them_and_no_padding(tmp_path: Path) -> None:
    stats, batches = _stats("llava-mixtral", tmp_path, 0)
    tokens = sum(int(batch.valid.sum()) for batch in batches)
    seen = [
        stats.sites[site.name].tokens
        for site in _expert_sites("llava-mixtral")
        if site.role.endswith("_in")
    ]
    assert sum(seen) == 2 * tokens  # two experts per token


@pytest.mark.filterwarnings("ignore:.* are zero in all calibration samples")
def test_an_expert_with_too_few_tokens_has_the_range_over_its_layer(tmp_path: Path) -> None:
    sites = _expert_sites("llava-mixtral")
    own, _ = _stats("llava-mixtral", tmp_path / "own", 0)
    least = sorted(own.sites[site.name].tokens for site in sites)
    shared, _ = _stats("llava-mixtral", tmp_path / "shared", least[-1])
    sparse = [site for site in sites if own.sites[site.name].tokens < least[-1]]
    assert 0 < len(sparse) < len(sites)
    for site in sites:
        mine, theirs = own.sites[site.name], shared.sites[site.name]
        if site not in sparse:
            assert torch.equal(mine.upper, theirs.upper)
            continue
        peers = [other for other in sites if other.role[-3:] == site.role[-3:]]
        top = torch.stack([own.sites[other.name].upper[0] for other in peers]).amax(dim=0)
        low = torch.stack([own.sites[other.name].lower[0] for other in peers]).amin(dim=0)
        assert torch.equal(theirs.upper[0], top)
        assert torch.equal(theirs.lower[0], low)
