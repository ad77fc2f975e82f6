"""The generic adapter finds by itself what the declared ones say, and tells what it found."""

from __future__ import annotations

import warnings

import pytest
from torch import nn

from qvlm.artefacts import ModelMap
from qvlm.errors import ModelError
from qvlm.models import describe
from qvlm.models.registry import UNFIT, adapter_for
from qvlm.schemes import Recipe
from tiny.families import built_family

GENERIC = Recipe(adapter="generic")


def _described(model: nn.Module) -> tuple[ModelMap, list[str]]:
    """The map, and what was told on the way."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = describe(model, GENERIC)
    return found, [str(item.message) for item in caught]


@pytest.mark.parametrize(
    "name", ["llava-siglip-qwen2", "qwen2_5_vl", "qwen3_vl", "idefics3", "internvl", "gemma3"]
)
def test_it_finds_what_the_declared_adapter_says(name: str) -> None:
    model = built_family(name).model
    found, lines = _described(model)
    assert any(line.startswith("adapter generic: language tower at model") for line in lines)
    declared = describe(model, Recipe())
    assert set(found.site_of_linear) == set(declared.site_of_linear)
    assert found.tower("language") == declared.tower("language")
    assert found.tower("vision") == declared.tower("vision")
    ours = {site.linears for site in declared.sites}
    assert {site.linears for site in found.sites} == ours


def test_it_tells_every_tower_with_its_sites() -> None:
    _, lines = _described(built_family("llava-siglip-qwen2").model)
    assert lines[0].startswith("adapter generic: vision tower at model.vision_tower.")
    assert "2 of [attn_in: self_attn.q_proj, self_attn.k_proj, self_attn.v_proj; " in lines[0]
    assert [line.split()[2] for line in lines] == ["vision", "projector", "language", "head"]


class _Unusual(nn.Module):
    """A decoder whose layers are of no known kind."""

    def __init__(self) -> None:
        super().__init__()
        self.config = type("Config", (), {"model_type": "unusual"})()
        self.embed = nn.Embedding(8, 32)
        layer = nn.ModuleDict({"a": nn.Linear(32, 32), "b": nn.Linear(32, 32)})
        self.blocks = nn.ModuleList([layer])
        self.head = nn.Linear(32, 8)

    def get_input_embeddings(self) -> nn.Module:
        return self.embed

    def get_output_embeddings(self) -> nn.Module:
        return self.head


def test_layers_of_unknown_kinds_have_a_site_per_linear_and_that_is_told() -> None:
    found, lines = _described(_Unusual())
    assert "unknown kind: no linears share an input" in lines[0]
    assert [site.linears for site in found.sites] == [("blocks.0.a",), ("blocks.0.b",)]


def test_a_model_without_a_language_stack_is_refused_with_what_there_is() -> None:
    model = _Unusual()
    model.stack, model.blocks = model.blocks, nn.ModuleList()
    with pytest.raises(ModelError, match="found 0 stacks of layers beside the token embeddings"):
        describe(model, GENERIC)


@pytest.mark.parametrize("model_type", UNFIT)
def test_what_does_not_fit_is_refused_with_the_reason(model_type: str) -> None:
    with pytest.raises(ModelError, match=f"'{model_type}' does not fit: its "):
        adapter_for(model_type)


def test_a_declared_adapter_refuses_layers_of_unknown_kinds() -> None:
    from transformers import LlamaConfig

    from tiny.building import text_sizes
    from tiny.llava_family import llava

    model, _ = llava("clip", LlamaConfig(**text_sizes()))
    model.model.language_model.layers[0].extra = nn.Linear(4, 4)
    with pytest.raises(ModelError, match=r"language_model' \(LlamaModel\) has 0 stacks"):
        describe(model, Recipe())
