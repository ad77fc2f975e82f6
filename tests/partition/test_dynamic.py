from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction

import pytest

from qvlm.partition import partition


def lengths_of(dependency: list[float], layers: int, depth: int, threshold: float) -> list[int]:
    return [b.stop - b.start for b in partition(dependency, layers, depth, threshold)]


def all_partitions(layers: int, depth: int) -> Iterator[list[int]]:
    """Block lengths of every partition, shortest first block first."""
    if layers == 0:
        yield []
    for first in range(1, min(depth, layers) + 1):
        for rest in all_partitions(layers - first, depth):
            yield [first, *rest]


def value(lengths: list[int], dependency: list[float], threshold: float) -> Fraction:
    """Sum of D - h0 over the links inside blocks."""
    total, start = Fraction(0), 0
    for length in lengths:
        for link in range(start, start + length - 1):
            total += Fraction(dependency[link]) - Fraction(threshold)
        start += length
    return total


@pytest.mark.parametrize("seed", range(60))
def test_no_partition_is_better(seed: int) -> None:
    rng = random.Random(seed)
    layers, depth = rng.randint(1, 10), rng.randint(1, 5)
    # Small whole numbers make ties frequent, floats make them rare.
    draw = rng.random if seed % 2 else lambda: float(rng.randint(0, 3))
    dependency = [draw() for _ in range(layers - 1)]
    threshold = draw()
    best = max(
        all_partitions(layers, depth), key=lambda lengths: value(lengths, dependency, threshold)
    )  # of equal ones the first, which has the shortest blocks first
    assert lengths_of(dependency, layers, depth, threshold) == best


def test_blocks_cover_all_layers_in_order() -> None:
    blocks = partition([3.0, 3.0, 1.0, 3.0], 5, 3, 2.0)
    assert [(b.start, b.stop) for b in blocks] == [(0, 3), (3, 5)]


def test_the_longest_block_is_the_depth() -> None:
    assert lengths_of([9.0] * 6, 7, 3, 0.0) == [1, 3, 3]


def test_a_link_of_exactly_the_threshold_joins_nothing() -> None:
    assert lengths_of([2.0, 2.0, 2.0], 4, 3, 2.0) == [1, 1, 1, 1]


def test_equal_sums_are_seen_as_equal_in_spite_of_rounding() -> None:
    # Blocks of 2 and 3 or of 3 and 2 layers hold links of 0.1 + 0.1 + 0.4 either way; added
    # up as floats from the far end, the second seems larger.
    assert lengths_of([0.1, 0.1, 0.1, 0.4], 5, 3, 0.0) == [2, 3]


@pytest.mark.parametrize("layers", [0, 1])
def test_towers_without_links(layers: int) -> None:
    assert lengths_of([], layers, 3, 0.0) == [1] * layers


@pytest.mark.parametrize(
    ("dependency", "depth", "message"),
    [
        ([1.0], 2, r"^3 layers have 2 links, got 1 values$"),
        ([1.0, 2.0], 0, r"^a block has at least 1 layer, got depth 0$"),
        ([1.0, float("nan")], 2, r"^dependency and threshold must be finite$"),
    ],
    ids=["length", "depth", "nan"],
)
def test_misuse_is_refused(dependency: list[float], depth: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        partition(dependency, 3, depth, 0.0)
