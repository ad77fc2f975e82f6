"""The last choice among few plans: whichever answers held-out samples best."""

from __future__ import annotations

from qvlm.artefacts import BlockSearch, GuardOutcome, Verdict
from qvlm.search.guard import Guard
from qvlm.search.state import Indices, SearchState, start_indices

SEARCHED = "searched"


def settle(state: SearchState, guard: Guard) -> tuple[Indices, GuardOutcome]:
    """Compares the searched plan with both starts and leaves the model quantized with the best.

    If a start answers better than the whole searched plan, the blocks of the search are put
    into it one after the other, and each stays only if the held-out samples are answered better
    with it: a block whose search did harm costs the others nothing.

    Returns:
        The plan taken, and how it came about.
    """
    plans = {
        SEARCHED: state.chosen,
        "lp": start_indices(state.installer.stats, "lp"),
        "minmax": start_indices(state.installer.stats, "minmax"),
    }
    verdicts: dict[str, Verdict] = {}
    for name, plan in plans.items():
        known = [other for other in verdicts if plans[other] == plan]
        if known:
            verdicts[name] = verdicts[known[0]]
            continue
        state.install(plan)
        verdicts[name] = guard.judge(state.model)
    base = SEARCHED
    for name, verdict in verdicts.items():
        if verdict.better_than(verdicts[base]):
            base = name
    taken, final = plans[base], verdicts[base]
    kept = [label(block) for block in state.blocks if _agrees(block, taken, state)]
    state.install(taken)
    for block in state.blocks if base != SEARCHED else ():
        if label(block) in kept:
            continue
        trial = taken | _indices(block, state)
        state.install({name: trial[name] for name in block.chosen})
        verdict = guard.judge(state.model)
        if verdict.better_than(final):
            taken, final = trial, verdict
            kept.append(label(block))
        else:
            state.install({name: taken[name] for name in block.chosen})
    return taken, GuardOutcome(
        samples=guard.samples,
        plans=verdicts,
        base=base,
        kept_blocks=tuple(kept),
        blocks=len(state.blocks),
        final=final,
    )


def label(block: BlockSearch) -> str:
    """Name of a block, for instance `language 3-5`."""
    first, last = block.block.start, block.block.stop - 1
    return f"{block.tower} {first}" if first == last else f"{block.tower} {first}-{last}"


def _indices(block: BlockSearch, state: SearchState) -> Indices:
    return {name: state.percentiles.index(value) for name, value in block.chosen.items()}


def _agrees(block: BlockSearch, plan: Indices, state: SearchState) -> bool:
    return all(plan[name] == index for name, index in _indices(block, state).items())
