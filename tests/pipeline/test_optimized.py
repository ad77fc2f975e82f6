"""An optimized tower is put in for a study as `quantize` would train it, and taken out again."""

from __future__ import annotations

import pytest
import torch

import qvlm
from qvlm.analysis.quality import Judge
from qvlm.analysis.study import Study
from qvlm.artefacts import BlockPlan
from qvlm.artefacts.store import read_json
from qvlm.data.batches import calibration_batches
from qvlm.models import describe, load_model
from qvlm.pipeline import optimized
from qvlm.pipeline.dependency import measure_dependency
from qvlm.pipeline.heldout import analysis_samples
from qvlm.pipeline.optimized import OptimizedTowers
from qvlm.schemes import load_recipe

OVERRIDES = (
    "calibration.samples=6", "calibration.batch_size=2", "search.start=lp",
    "calibration.guard_fraction=0.25",
    "vision_optimization.epochs=1", "vision_optimization.learning_rate=0.001", "seed=2",
)  # fmt: skip
"""With this seed the epoch is kept, so that the tower moves."""


def quiet(_stage: str, _done: int, _total: int) -> None:
    pass


@pytest.fixture
def study(tiny_model, questions):
    recipe = load_recipe("w4a4-static", OVERRIDES)
    loaded = load_model(tiny_model)
    model_map = describe(loaded.model, recipe)
    samples = analysis_samples(f"scienceqa:{questions}", recipe, 2).searched
    batches = calibration_batches(samples, loaded.processor, 2)
    towers = OptimizedTowers(loaded, model_map, samples, batches)
    judge = Judge(loaded.model, batches)
    return recipe, Study(loaded.model, model_map, batches, judge, measure_dependency, towers)


def weights_of(study):
    return {name: value.clone() for name, value in study.model.state_dict().items()}


def changed(study, before):
    now = study.model.state_dict()
    return {name for name, value in before.items() if not torch.equal(now[name], value)}


def test_the_tower_is_in_place_only_inside(study):
    recipe, study = study
    before = weights_of(study)
    with study.prepare(recipe, quiet) as replan:
        inside = changed(study, before)
    assert replan is not None
    assert inside
    assert all(name.startswith("model.vision_tower.") for name in inside)
    assert not changed(study, before)


def test_it_is_taken_out_after_an_error(study):
    recipe, study = study
    before = weights_of(study)
    with pytest.raises(RuntimeError, match="stop"), study.prepare(recipe, quiet):
        raise RuntimeError("stop")
    assert not changed(study, before)


def test_a_recipe_without_optimization_changes_nothing(study):
    recipe, study = study
    before = weights_of(study)
    with study.prepare(recipe.model_copy(update={"vision_optimization": None}), quiet) as replan:
        assert replan is None
        assert not changed(study, before)


def test_equal_trainings_are_run_once(study, monkeypatch):
    recipe, study = study
    trainings = []
    train = optimized.train_vision
    monkeypatch.setattr(
        optimized, "train_vision", lambda *args: trainings.append(args[2]) or train(*args)
    )
    for override in ("partition.depth=1", "partition.depth=2", "search.strategy=coordinate"):
        with study.prepare(load_recipe(recipe, (override,)), quiet):
            pass
    assert len(trainings) == 1
    with study.prepare(load_recipe(recipe, ("vision_optimization.output_weight=2",)), quiet):
        pass
    assert len(trainings) == 2


def test_study_and_quantize_find_the_same(study, tiny_model, questions, tmp_path):
    recipe, study = study
    found = study.searched(recipe, quiet)
    qvlm.quantize(tiny_model, recipe, f"scienceqa:{questions}", tmp_path / "run")
    plan = read_json(tmp_path / "run" / "artefacts" / "blocks.json", BlockPlan)
    for mine, other in zip(found.plan.towers, plan.towers, strict=True):
        assert mine.blocks == other.blocks
        assert mine.threshold == pytest.approx(other.threshold)
        assert mine.dependency == pytest.approx(other.dependency)
