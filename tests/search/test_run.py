"""The search stage on a tiny LLaVA: promises about losses, costs and the guard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from qvlm.artefacts import BlockPlan, ClipPlan
from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.statistics import ActivationStats
from qvlm.models import describe
from qvlm.observe import observe
from qvlm.partition import plan_blocks
from qvlm.runtime import SimulatedLinear
from qvlm.schemes import Recipe
from qvlm.search import Installer, search
from qvlm.search.guard import Guard
from tiny.batches import tiny_batches
from tiny.counting import layers_that_compute
from tiny.llava import tiny_llava


class Bench:
    """A tiny model with everything that a search needs."""

    def __init__(self, root: Path, **search_settings: Any) -> None:
        self.model, processor = tiny_llava(layers=4)
        settings = Recipe().search.model_copy(update=search_settings)
        self.recipe = Recipe(search=settings)
        self.batches: list[Batch] = tiny_batches(root, processor)
        self.model_map = describe(self.model, self.recipe)
        self.stats: ActivationStats = observe(self.model, self.model_map, self.recipe, self.batches)
        layers = {
            tower.name: len(tower.layers)
            for tower in self.model_map.towers
            if self.model_map.sites_of(tower.name)
        }
        self.plan: BlockPlan = plan_blocks(layers, self.stats.dependency, self.recipe.partition)
        self.installer = Installer(self.model, self.model_map, self.recipe, self.stats)

    def search(self, guard: bool = False) -> ClipPlan:
        return search(self.installer, self.plan, self.batches, self.batches if guard else ())

    def logits(self) -> list[torch.Tensor]:
        with torch.no_grad():
            return [self.model(**batch.inputs).logits for batch in self.batches]


@pytest.mark.parametrize("strategy", ["coordinate", "exhaustive", "beam"])
def test_no_block_ends_worse_than_it_started(tmp_path: Path, strategy: str) -> None:
    bench = Bench(tmp_path / "d", strategy=strategy, percentiles=(1.0, 0.98), beam_width=2)
    plan = bench.search()
    assert {block.tower for block in plan.blocks} == {"vision", "projector", "language"}
    assert all(block.chosen_loss <= block.start_loss for block in plan.blocks)
    assert any(block.chosen_loss < block.start_loss for block in plan.blocks)
    assert set(plan.percentiles) == set(bench.stats.sites)
    assert set(plan.percentiles.values()) <= {1.0, 0.98}


def test_without_a_search_every_site_is_quantized_at_the_start_and_no_layer_runs(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path / "d", strategy="none", start="minmax")
    with layers_that_compute(bench.model, bench.model_map) as ran:
        plan = bench.search(guard=True)
    assert not ran
    assert plan.forward_equivalents == 0
    assert plan.percentiles == dict.fromkeys(bench.stats.sites, 1.0)
    assert not plan.blocks
    quantized = {path for site in bench.model_map.sites for path in site.linears}
    assert all(isinstance(bench.model.get_submodule(path), SimulatedLinear) for path in quantized)


def test_a_coordinate_search_keeps_to_forty_forward_equivalents(tmp_path: Path) -> None:
    plan = Bench(tmp_path / "d").search(guard=True)
    assert plan.forward_equivalents <= 40


def test_a_small_budget_is_kept_and_recorded(tmp_path: Path) -> None:
    plan = Bench(tmp_path / "d", budget=3.0).search()
    assert sum(block.forward_equivalents for block in plan.blocks) <= 3.0
    assert any(block.stopped_by_budget for block in plan.blocks)


def test_the_model_is_left_quantized_with_the_plan_and_can_be_restored(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d")
    exact = bench.logits()
    plan = bench.search()
    quantized = bench.logits()
    assert not torch.equal(quantized[0], exact[0])
    final = bench.installer.final(plan)
    for site in bench.model_map.sites:
        for path, parameters in final(site).items():
            installed = bench.model.get_submodule(path)
            assert torch.equal(installed.weight, parameters.weight.dequantized()), path
    bench.installer.restore()
    assert all(torch.equal(a, b) for a, b in zip(bench.logits(), exact, strict=True))


def test_the_guard_measures_the_full_precision_model_as_perfect(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d")
    guard = Guard(bench.model, bench.batches)
    assert guard.samples == 6
    judgement = guard.judge(bench.model)
    verdict = judgement.verdict
    assert verdict.kl == pytest.approx(0, abs=1e-6)
    losses = []
    for batch, logits in zip(bench.batches, bench.logits(), strict=True):
        for row, sample in enumerate(batch.labels):
            for position in range(1, len(sample)):
                if sample[position] != -100:
                    probabilities = logits[row, position - 1].log_softmax(-1)
                    losses.append(-float(probabilities[sample[position]]))
    assert verdict.answer_loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert judgement.totals.shape == (6,)
    assert float(judgement.totals.sum()) == pytest.approx(sum(losses), rel=1e-5)


def test_every_kind_of_token_weights_finds_a_plan(tmp_path: Path) -> None:
    losses = {}
    for kind in ("uniform", "modality_balanced", "answer", "gradient"):
        plan = Bench(tmp_path / kind, token_weights=kind).search()
        losses[kind] = tuple(block.chosen_loss for block in plan.blocks)
        assert all(block.chosen_loss <= block.start_loss for block in plan.blocks)
    assert len(set(losses.values())) == 4
    vision = {kind: values[0] for kind, values in losses.items()}
    assert vision["uniform"] == vision["answer"] == vision["modality_balanced"]
    assert vision["gradient"] != vision["uniform"]


def test_a_run_without_a_search_has_nothing_to_guard(tmp_path: Path) -> None:
    assert Bench(tmp_path / "d", strategy="none").search(guard=True).guard is None
