"""Search strategies over a small grid: pure functions of a loss.

A *choice* gives every site an index into the falling list of percentiles (0 = no clipping).
Each strategy starts from a given choice and never returns a worse one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

Choice = tuple[int, ...]
Loss = Callable[[Choice], float]


def coordinate(
    start: Choice,
    candidates: int,
    loss: Loss,
    *,
    max_sweeps: int,
    may_continue: Callable[[], bool],
) -> tuple[Choice, float]:
    """Walks over the sites in turn, each along the grid as long as the loss falls.

    A site looks at both neighbours of its index and walks on in a direction that improves. The
    search ends when no site has moved since it was last looked at, or after `max_sweeps` rounds.

    Args:
        start: first choice.
        candidates: number of percentiles.
        loss: block-output error of a choice; NaN counts as infinite. It may answer infinity for
            any choice that is no better than the best one it was asked for so far.
        max_sweeps: most rounds over all sites.
        may_continue: asked before each evaluation; False ends the search (budget).

    Returns:
        The best choice found and its loss.
    """
    best, best_loss = start, _finite(loss(start))
    settled = 0
    for site in [*range(len(start))] * max_sweeps:
        if settled == len(start) or not may_continue():
            break
        settled += 1
        for step in (1, -1):
            moved = False
            while 0 <= best[site] + step < candidates and may_continue():
                trial = _with(best, site, best[site] + step)
                trial_loss = _finite(loss(trial))
                if trial_loss >= best_loss:
                    break
                best, best_loss, moved = trial, trial_loss, True
            if moved:
                settled = 1
                break
    return best, best_loss


def exhaustive(
    start: Choice, candidates: int, loss: Loss, groups: Sequence[Sequence[int]]
) -> tuple[Choice, float]:
    """Tries every combination of one index per group of sites (a layer), and the start.

    Cost: candidates ** len(groups) evaluations; the last group varies fastest, so that a loss
    that caches prefixes recomputes little.
    """
    best, best_loss = start, _finite(loss(start))
    for indices in itertools.product(range(candidates), repeat=len(groups)):
        trial = list(start)
        for index, sites in zip(indices, groups, strict=True):
            for site in sites:
                trial[site] = index
        trial_loss = _finite(loss(tuple(trial)))
        if trial_loss < best_loss:
            best, best_loss = tuple(trial), trial_loss
    return best, best_loss


def beam(start: Choice, candidates: int, loss: Loss, width: int) -> tuple[Choice, float]:
    """Decides site after site, keeping the `width` best choices with later sites at the start."""
    kept = {start: _finite(loss(start))}
    for site in range(len(start)):
        grown = dict(kept)
        for choice in kept:
            for index in range(candidates):
                trial = _with(choice, site, index)
                if trial not in grown:
                    grown[trial] = _finite(loss(trial))
        kept = dict(sorted(grown.items(), key=lambda item: item[1])[:width])
    return min(kept.items(), key=lambda item: item[1])


def _with(choice: Choice, site: int, index: int) -> Choice:
    return (*choice[:site], index, *choice[site + 1 :])


def _finite(value: float) -> float:
    return math.inf if math.isnan(value) else value
