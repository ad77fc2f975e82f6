"""The best partition of a tower into blocks, by dynamic programming (METHOD 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from qvlm.artefacts.plan import Block


def partition(
    dependency: Sequence[float], layers: int, depth: int, threshold: float
) -> tuple[Block, ...]:
    """Returns the blocks that maximize the sum of D(k, k+1) - h0 over links inside blocks.

    Exact: gains are added as fractions, so that equal partitions are seen as equal. Among
    these the one with the shortest first block wins, then the shortest second one, and so on;
    a link of exactly h0 therefore joins nothing by itself. O(layers * depth).

    Args:
        dependency: D(k, k+1), one for each of the layers - 1 links.
        layers: number of layers.
        depth: longest block, at least 1.
        threshold: h0, in the unit of the dependency.

    Raises:
        ValueError: the lengths do not fit, the depth is below 1 or a value is not finite.
    """
    if len(dependency) != max(layers - 1, 0):
        raise ValueError(f"{layers} layers have {layers - 1} links, got {len(dependency)} values")
    if depth < 1:
        raise ValueError(f"a block has at least 1 layer, got depth {depth}")
    if not all(map(math.isfinite, [*dependency, threshold])):
        raise ValueError("dependency and threshold must be finite")
    gains = [Fraction(value) - Fraction(threshold) for value in dependency]
    best = [Fraction(0)] * (layers + 1)  # best[k]: of the layers from k on
    stops = [layers] * layers
    for start in range(layers - 1, -1, -1):
        inside = Fraction(0)
        best[start], stops[start] = best[start + 1], start + 1
        for stop in range(start + 2, min(start + depth, layers) + 1):
            inside += gains[stop - 2]
            if inside + best[stop] > best[start]:
                best[start], stops[start] = inside + best[stop], stop
    blocks = []
    start = 0
    while start < layers:
        blocks.append(Block(start=start, stop=stops[start]))
        start = stops[start]
    return tuple(blocks)
