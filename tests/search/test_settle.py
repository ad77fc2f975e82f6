"""The last choice among plans, with verdicts dictated by what is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch

from qvlm.artefacts import Block, BlockSearch, ModelMap, Site, Verdict
from qvlm.artefacts.statistics import ActivationStats, SiteStats
from qvlm.search.guard import Guard, Judgement
from qvlm.search.settle import label, settle
from qvlm.search.state import SearchState, start_indices
from qvlm.search.weights import TokenWeights

SITES = tuple(
    Site(name=f"s{i}", tower="language", layer=i, role="r", linears=(f"l{i}",), channels=1)
    for i in range(3)
)


class Bench:
    """Stands for installer and guard: the total of a plan is a function of its indices."""

    model = None
    model_map = ModelMap(architecture="", towers=(), sites=SITES, skipped={})

    def __init__(self, total: Callable[[tuple[int, ...]], float]) -> None:
        costs = {"s0": [1.0, 0.0], "s1": [1.0, 0.0], "s2": [0.0, 1.0]}  # lp start: 1, 1, 0
        bounds = torch.zeros(2, 1)
        self.stats = ActivationStats(
            percentiles=(1.0, 0.9),
            sites={n: SiteStats(bounds, bounds, torch.tensor(c), 1) for n, c in costs.items()},
            dependency={},
            forward_equivalents=0,
            seconds=0,
            entropy_seconds=0,
        )
        self.installed: dict[str, int] = {}
        self.total = total
        self.samples = 2
        self.judged: list[tuple[int, ...]] = []

    def install(self, site: Site, index: int) -> None:
        self.installed[site.name] = index

    def judge(self, _model: Any) -> Judgement:
        plan = tuple(self.installed[site.name] for site in SITES)
        self.judged.append(plan)
        total = self.total(plan)
        return Judgement(Verdict(answer_loss=total, kl=0.0), torch.full((2,), total))

    def settle(self, chosen: tuple[int, ...]) -> tuple[tuple[int, ...], Any]:
        state = SearchState(
            installer=cast(Any, self),
            start=start_indices(self.stats, "lp"),
            batches=(),
            weights=TokenWeights("uniform", torch.nn.Identity(), (), ()),
        )
        for site, index in zip(SITES, chosen, strict=True):
            state.chosen[site.name] = index
            state.blocks.append(
                BlockSearch(
                    tower="language",
                    block=Block(start=site.layer, stop=site.layer + 1),
                    start={},
                    chosen={site.name: self.stats.percentiles[index]},
                    start_loss=1.0,
                    chosen_loss=1.0,
                    evaluations=1,
                    forward_equivalents=1.0,
                )
            )
        taken, outcome = settle(state, cast(Guard, self))
        plan = tuple(taken[site.name] for site in SITES)
        assert tuple(self.installed[site.name] for site in SITES) == plan
        assert outcome.final.answer_loss == self.total(plan)
        return plan, outcome


def test_a_search_that_answers_best_is_kept_whole() -> None:
    plan, outcome = Bench(lambda plan: float(plan != (1, 0, 1))).settle((1, 0, 1))
    assert plan == (1, 0, 1)
    assert (outcome.base, outcome.fell_back) == ("searched", False)
    assert len(outcome.kept_blocks) == outcome.blocks == 3


def test_a_harmful_block_alone_is_given_up() -> None:
    # Site 2 at index 1 does great harm, site 1 at index 0 a little good.
    bench = Bench(lambda plan: 10.0 * plan[2] + plan[1])
    plan, outcome = bench.settle((1, 0, 1))
    assert plan == (0, 0, 0)  # min-max is the best of the three plans, and good already
    assert outcome.base == "minmax"
    assert outcome.kept_blocks == ("language 1",)
    assert outcome.fell_back


def test_good_blocks_are_put_into_the_better_start() -> None:
    values = {(1, 1, 0): 5.0, (0, 0, 0): 9.0, (0, 0, 1): 6.0, (0, 1, 0): 4.0, (0, 1, 1): 7.0}
    bench = Bench(lambda plan: values.get(plan, 8.0))
    plan, outcome = bench.settle((0, 0, 1))
    assert plan == (0, 1, 0)
    assert outcome.base == "lp"
    assert outcome.kept_blocks == ("language 0",)
    assert outcome.plans["lp"].total == 5.0
    assert outcome.final.total == 4.0


def test_equal_plans_are_judged_once() -> None:
    bench = Bench(lambda plan: float(plan == (0, 0, 0)))
    _, outcome = bench.settle((1, 1, 0))
    assert bench.judged == [(0, 0, 0), (1, 1, 0)]
    assert outcome.base == "lp"
    assert outcome.kept_blocks == ("language 0", "language 1", "language 2")
    assert set(outcome.plans) == {"searched", "lp", "minmax"}


def test_what_is_no_better_than_min_max_leaves_it_in_place() -> None:
    plan, outcome = Bench(lambda _plan: 1.0).settle((1, 1, 1))
    assert plan == (0, 0, 0)
    assert outcome.base == "minmax"
    assert outcome.kept_blocks == ()
    assert outcome.fell_back


@pytest.mark.parametrize(
    ("mine", "other", "surely"),
    [
        ([1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0], True),
        ([2.0, 2.0, 2.0, 2.0], [2.0, 2.0, 2.0, 2.0], False),
        ([1.0, 2.0, 2.0, 2.0], [3.0, 2.0, 2.0, 2.0], False),  # one sample alone is luck
        ([1.0, 1.2, 0.9, 1.1], [2.0, 1.9, 2.2, 2.1], True),
        ([float("nan"), 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0], False),
        ([2.0, 2.0, 2.0, 2.0], [float("nan"), 1.0, 1.0, 1.0], True),
        ([1.0], [2.0], False),
    ],
)
def test_a_gain_counts_beyond_twice_its_standard_error(
    mine: list[float], other: list[float], surely: bool
) -> None:
    first, second = (
        Judgement(Verdict(answer_loss=0.0, kl=0.0), torch.tensor(totals))
        for totals in (mine, other)
    )
    assert first.surely_better_than(second) is surely


def test_a_block_is_named_by_its_tower_and_layers() -> None:
    block = BlockSearch(
        tower="vision",
        block=Block(start=3, stop=6),
        start={},
        chosen={},
        start_loss=0.0,
        chosen_loss=0.0,
        evaluations=0,
        forward_equivalents=0.0,
    )
    assert label(block) == "vision 3-5"
