"""The loss of a block: caching must never change a value, only save work."""

from __future__ import annotations

import itertools
import random

import pytest
import torch

from qvlm.artefacts import Site
from qvlm.search.block import BlockLoss
from qvlm.search.strategies import Choice


class ToyTower:
    """Layers x -> tanh(x W_k + b[k][index of the layer's sites])."""

    def __init__(self, layers: int, sites_per_layer: int = 2) -> None:
        generator = torch.Generator().manual_seed(0)
        self.weights = torch.randn(layers, 8, 8, generator=generator) / 3
        self.sites = [
            Site(
                name=f"language.{layer}.s{number}",
                tower="language",
                layer=layer,
                role=f"s{number}",
                linears=(f"l{layer}.{number}",),
                channels=8,
            )
            for layer in range(layers)
            for number in range(sites_per_layer)
        ]
        self.state: dict[str, int] = {}
        self.inputs = [torch.randn(2, 5, 8, generator=generator) for _ in range(3)]
        self.last = torch.full((2, 5), 0.5)
        self.ran = 0

    def install(self, site: Site, index: int) -> None:
        self.state[site.name] = index

    def run_layer(self, layer: int, batch: int, hidden: torch.Tensor) -> torch.Tensor:
        self.ran += 1
        shift = sum(
            (1 + position) * self.state[site.name]
            for position, site in enumerate(self.sites)
            if site.layer == layer
        )
        return torch.tanh(hidden @ self.weights[layer] + 0.1 * shift + 0.01 * batch)

    def loss(self, start: int, stop: int, objective: str = "l2") -> BlockLoss:
        return BlockLoss(
            sites=[site for site in self.sites if start <= site.layer < stop],
            start=start,
            stop=stop,
            inputs=self.inputs,
            targets=[torch.ones_like(x) for x in self.inputs],
            weights=[torch.ones(2, 5), torch.tensor([[1.0] * 5, [1.0] * 3 + [0.0] * 2]), self.last],
            run_layer=self.run_layer,
            install=self.install,
            objective=objective,
        )


@pytest.mark.parametrize("objective", ["l2", "normalized"])
def test_cached_prefixes_give_what_a_fresh_loss_gives(objective: str) -> None:
    tower = ToyTower(3)
    cached = tower.loss(0, 3, objective)
    choices: list[Choice] = list(itertools.product(range(2), repeat=6))
    random.Random(0).shuffle(choices)
    for choice in choices:
        assert cached(choice) == ToyTower(3).loss(0, 3, objective)(choice)


def test_only_layers_behind_a_change_run_again() -> None:
    tower = ToyTower(3)
    loss = tower.loss(0, 3)
    loss((0, 0, 0, 0, 0, 0))
    assert loss.layer_forwards == 3
    loss((0, 0, 0, 0, 0, 1))
    assert loss.layer_forwards == 4
    loss((0, 0, 1, 0, 0, 1))
    assert loss.layer_forwards == 6
    loss((0, 0, 1, 0, 0, 1))  # known
    assert (loss.layer_forwards, loss.evaluations) == (6, 3)
    assert tower.ran == 6 * len(tower.inputs)


def test_a_changed_layer_in_front_of_the_block_changes_nothing() -> None:
    tower = ToyTower(3)
    loss = tower.loss(1, 3)
    before = loss((0, 1, 1, 0))
    tower.install(tower.sites[0], 7)
    assert tower.loss(1, 3)((0, 1, 1, 0)) == before


def test_padding_does_not_count() -> None:
    tower = ToyTower(1)
    before = tower.loss(0, 1)((0, 0))
    tower.inputs[1][1, 3:] = 1e3
    assert tower.loss(0, 1)((0, 0)) == before
    tower.inputs[1][1, 2] = 1e3
    assert tower.loss(0, 1)((0, 0)) != before


def test_outputs_are_those_of_the_choice_asked_for_last() -> None:
    tower = ToyTower(2)
    loss = tower.loss(0, 2)
    expected = [x.clone() for x in ToyTower(2).loss(0, 2).outputs((1, 0, 1, 1))]
    for choice in itertools.product(range(2), repeat=4):
        loss(choice)
    for output, wanted in zip(loss.outputs((1, 0, 1, 1)), expected, strict=True):
        assert torch.equal(output, wanted)
    assert [tower.state[site.name] for site in tower.sites] == [1, 0, 1, 1]


def test_a_race_finds_what_whole_evaluations_find() -> None:
    choices: list[Choice] = list(itertools.product(range(2), repeat=6))
    random.Random(1).shuffle(choices)
    racing, best = ToyTower(3).loss(0, 3), float("inf")
    for choice in choices:
        value, whole = racing.race(choice), ToyTower(3).loss(0, 3)(choice)
        assert value in (pytest.approx(whole, rel=1e-12), float("inf"))
        if value < best:
            best = value
            outputs = ToyTower(3).loss(0, 3).outputs(choice)
            assert all(map(torch.equal, racing.outputs(choice), outputs))
    assert best < racing.race(choices[0])


def test_a_loser_costs_one_layer_however_early_it_differs() -> None:
    tower = ToyTower(3)
    loss = tower.loss(0, 3)
    start = (1, 1, 1, 1, 1, 1)
    loss.race(start)
    assert loss.layer_forwards == 3
    assert loss.race((0, 1, 1, 1, 1, 1)) == float("inf")
    assert loss.layer_forwards == 4  # three layers on one of three batches
    assert loss.race((1, 1, 1, 1, 1, 0)) == float("inf")
    assert loss.layer_forwards == 5  # one layer on all of them
    assert loss.evaluations == 3
    assert torch.equal(loss.outputs(start)[0], ToyTower(3).loss(0, 3).outputs(start)[0])
    assert loss.layer_forwards == 5


def test_a_position_counts_as_much_as_its_weight() -> None:
    tower = ToyTower(1)
    outputs = tower.loss(0, 1).outputs((1, 0))
    weights = [torch.ones(2, 5), torch.tensor([[1.0] * 5, [1.0] * 3 + [0.0] * 2]), tower.last]
    errors = [(x - 1).square().mean(-1) for x in outputs]
    total = sum(float((w * e).sum()) for w, e in zip(weights, errors, strict=True))
    expected = total / sum(float(w.sum()) for w in weights)
    assert tower.loss(0, 1)((1, 0)) == pytest.approx(expected, rel=1e-6)
