"""Strategies against brute force, on losses that are tables of random numbers."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from qvlm.search.strategies import Choice, beam, coordinate, exhaustive

CANDIDATES = 4


class Table:
    """A loss with a random value per choice, which counts its calls."""

    def __init__(self, sites: int, seed: int) -> None:
        rng = random.Random(seed)
        choices = itertools.product(range(CANDIDATES), repeat=sites)
        self.values = {choice: rng.random() for choice in choices}
        self.calls = 0

    def __call__(self, choice: Choice) -> float:
        self.calls += 1
        return self.values[choice]


@pytest.mark.parametrize("seed", range(20))
def test_coordinate_ends_in_a_choice_that_no_single_step_improves(seed: int) -> None:
    table = Table(3, seed)
    best, loss = coordinate((1, 2, 0), CANDIDATES, table, max_sweeps=100, may_continue=lambda: True)
    assert loss == table.values[best] <= table.values[1, 2, 0]
    for site in range(3):
        for step in (-1, 1):
            neighbour = (*best[:site], best[site] + step, *best[site + 1 :])
            assert table.values.get(neighbour, math.inf) >= loss


def test_coordinate_finds_the_minimum_of_a_bowl() -> None:
    def bowl(choice: Choice) -> float:
        return sum((index - target) ** 2 for index, target in zip(choice, (3, 0, 2), strict=True))

    best, loss = coordinate((0, 3, 0), 5, bowl, max_sweeps=5, may_continue=lambda: True)
    assert (best, loss) == ((3, 0, 2), 0)


def test_coordinate_stops_when_the_budget_is_spent() -> None:
    table = Table(5, 0)
    start = (0,) * 5
    best, loss = coordinate(
        start, CANDIDATES, table, max_sweeps=9, may_continue=lambda: table.calls < 4
    )
    assert table.calls == 4
    assert loss == table.values[best] <= table.values[start]


def test_coordinate_leaves_a_start_that_is_not_a_number() -> None:
    best, loss = coordinate(
        (0,), 3, lambda c: math.nan if c == (0,) else 1.0, max_sweeps=2, may_continue=lambda: True
    )
    assert (best, loss) == ((1,), 1.0)


@pytest.mark.parametrize("seed", range(5))
def test_exhaustive_equals_a_brute_loop_over_layers(seed: int) -> None:
    table = Table(4, seed)
    groups = [[0, 1], [2, 3]]  # two layers of two sites that share a percentile
    best, loss = exhaustive((3, 1, 2, 0), CANDIDATES, table, groups)
    tied = [(a, a, b, b) for a in range(CANDIDATES) for b in range(CANDIDATES)]
    expected = min([*tied, (3, 1, 2, 0)], key=table.values.__getitem__)
    assert (best, loss) == (expected, table.values[expected])


@pytest.mark.parametrize("seed", range(5))
def test_an_endless_beam_is_a_brute_loop_over_sites(seed: int) -> None:
    table = Table(3, seed)
    best, loss = beam((0, 0, 0), CANDIDATES, table, width=10**6)
    expected = min(table.values, key=table.values.__getitem__)
    assert (best, loss) == (expected, table.values[expected])


@pytest.mark.parametrize("width", [1, 2, 8])
def test_a_beam_is_never_worse_than_its_start(width: int) -> None:
    for seed in range(10):
        table = Table(4, seed)
        assert beam((2, 2, 2, 2), CANDIDATES, table, width)[1] <= table.values[2, 2, 2, 2]
