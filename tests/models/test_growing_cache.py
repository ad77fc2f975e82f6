"""A cache with room for the tokens to come says what Transformers' own says."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from qvlm.models.growing_cache import LEAST_ROOM, GrowingLayer, let_cache_grow
from tiny.families import FAMILIES

FAMILY_NAMES = ("llava-clip-llama", "qwen2_5_vl", "gemma3", "mllama")


def states(tokens: int, seed: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 3, tokens, 8, generator=torch.Generator().manual_seed(seed))


def steps(layer: Any) -> list[torch.Tensor]:
    """A prompt, tokens, everything that generation does to a cache, and more tokens."""
    found = []
    with torch.no_grad():
        for seed, tokens in enumerate([5, 1, 1, LEAST_ROOM, 1]):
            found += layer.update(states(tokens, seed), states(tokens, seed + 100))
        layer.crop(-3)
        found += layer.update(states(2, 50), states(2, 51))
        layer.reorder_cache(torch.tensor([1, 1]))
        found += layer.update(states(1, 52), states(1, 53))
        layer.batch_repeat_interleave(2)
        found += layer.update(states(1, 54, 4), states(1, 55, 4))
        layer.batch_select_indices(torch.tensor([3, 0]))
        found += layer.update(states(1, 56), states(1, 57))
        layer.reset()
        found += layer.update(states(4, 58), states(4, 59))
    return found


def test_every_step_holds_what_the_ordinary_layer_holds() -> None:
    for mine, theirs in zip(steps(GrowingLayer()), steps(DynamicLayer()), strict=True):
        assert torch.equal(mine, theirs)


@torch.no_grad()
def test_a_token_is_written_where_the_others_lie() -> None:
    layer = GrowingLayer()
    first, _ = layer.update(states(5, 0), states(5, 1))
    second, _ = layer.update(states(1, 2), states(1, 3))
    assert first.data_ptr() == second.data_ptr()
    assert torch.equal(second[..., :5, :], states(5, 0))


@torch.no_grad()
def test_tensors_of_somebody_else_are_not_written_over() -> None:
    owner, other = GrowingLayer(), GrowingLayer()
    owner.update(states(5, 0), states(5, 1))
    other.update(states(1, 2), states(1, 3))
    other.keys, other.values = owner.keys, owner.values
    other.update(states(1, 4), states(1, 5))
    mine = owner.update(states(1, 6), states(1, 7))[0].clone()
    assert torch.equal(other.keys[..., -1:, :], states(1, 4))
    assert torch.equal(mine[..., -1:, :], states(1, 6))


def test_gradients_take_the_ordinary_way() -> None:
    layer = GrowingLayer()
    key = states(3, 0).requires_grad_()
    layer.update(key, key)
    keys, _ = layer.update(states(1, 1), states(1, 2))
    keys.sum().backward()
    assert key.grad is not None


@pytest.mark.parametrize("name", FAMILY_NAMES)
@pytest.mark.parametrize("how", [{}, {"num_beams": 2}], ids=["greedy", "beams"])
def test_generation_says_the_same(name: str, how: dict[str, int]) -> None:
    model, _ = FAMILIES[name]()
    ids = torch.arange(5, 25).unsqueeze(0)
    arguments = {"max_new_tokens": 6, "do_sample": False, "return_dict_in_generate": True, **how}
    expected = model.generate(input_ids=ids, **arguments)
    let_cache_grow(model)
    found = model.generate(input_ids=ids, **arguments)
    assert torch.equal(found.sequences, expected.sequences)
    caches = expected.past_key_values, found.past_key_values
    assert all(isinstance(cache, DynamicCache) for cache in caches)
    plain, grown = ([type(layer) for layer in cache.layers] for cache in caches)
    assert grown == [GrowingLayer if kind is DynamicLayer else kind for kind in plain]
    assert GrowingLayer in grown
