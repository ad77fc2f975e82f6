"""The last choice among few plans: whichever surely answers held-out samples best."""

from __future__ import annotations

from qvlm.artefacts import BlockSearch, GuardOutcome
from qvlm.search.guard import Guard, Judgement
from qvlm.search.state import Indices, SearchState, start_indices

SEARCHED = "searched"


def settle(state: SearchState, guard: Guard) -> tuple[Indices, GuardOutcome]:
    """Compares plans on the held-out samples and leaves the model quantized with the outcome.

    Min-max, which clips nothing that was seen, is what the others must beat, and beat surely: by
    more than the noise of so few samples. Then the blocks of the search are put into the best
    plan one after the other, by the same rule: a block whose search did harm costs the others
    nothing.

    Returns:
        The plan taken, and how it came about.
    """
    plans = {
        "minmax": start_indices(state.installer.stats, "minmax"),
        "lp": start_indices(state.installer.stats, "lp"),
        SEARCHED: state.chosen,
    }
    judgements: dict[str, Judgement] = {}
    for name, plan in plans.items():
        known = [other for other in judgements if plans[other] == plan]
        if known:
            judgements[name] = judgements[known[0]]
            continue
        state.install(plan)
        judgements[name] = guard.judge(state.model)
    base = "minmax"
    for name, judgement in judgements.items():
        if judgement.surely_better_than(judgements[base]):
            base = name
    taken, final = plans[base], judgements[base]
    kept = [label(block) for block in state.blocks if _agrees(block, taken, state)]
    state.install(taken)
    for block in state.blocks:
        if label(block) in kept:
            continue
        trial = taken | _indices(block, state)
        state.install({name: trial[name] for name in block.chosen})
        judgement = guard.judge(state.model)
        if judgement.surely_better_than(final):
            taken, final = trial, judgement
            kept.append(label(block))
        else:
            state.install({name: taken[name] for name in block.chosen})
    return taken, GuardOutcome(
        samples=guard.samples,
        plans={name: judgement.verdict for name, judgement in judgements.items()},
        base=base,
        kept_blocks=tuple(kept),
        blocks=len(state.blocks),
        final=final.verdict,
    )


def label(block: BlockSearch) -> str:
    """Name of a block, for instance `language 3-5`."""
    first, last = block.block.start, block.block.stop - 1
    return f"{block.tower} {first}" if first == last else f"{block.tower} {first}-{last}"


def _indices(block: BlockSearch, state: SearchState) -> Indices:
    return {name: state.percentiles.index(value) for name, value in block.chosen.items()}


def _agrees(block: BlockSearch, plan: Indices, state: SearchState) -> bool:
    return all(plan[name] == index for name, index in _indices(block, state).items())
