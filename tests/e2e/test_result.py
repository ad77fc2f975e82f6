"""What a run directory records about itself."""

from __future__ import annotations

import json

import pytest

import qvlm
from qvlm.artefacts.plan import BlockPlan, ClipPlan
from qvlm.artefacts.result import Result
from qvlm.artefacts.store import read_json
from qvlm.artefacts.tensors import read_stats
from qvlm.data import open_source
from qvlm.schemes import load_recipe


@pytest.fixture(scope="module")
def result(quantized) -> Result:
    return read_json(quantized / "result.json", Result)


def test_every_linear_is_quantized_or_skipped_with_a_reason(result, tiny_model):
    model, _ = qvlm.load(tiny_model)
    linears = {n for n, m in model.named_modules() if type(m).__name__ == "Linear"}
    assert {layer.path for layer in result.layers} | set(result.skipped) == linears
    assert not {layer.path for layer in result.layers} & set(result.skipped)
    assert result.skipped["lm_head"] == "recipe: lm_head is null"
    above = [reason for path, reason in result.skipped.items() if "vision_tower" in path]
    assert above == ["above vision_feature_layer -2"] * 6


def test_static_layers_have_a_percentile_and_the_others_none(result):
    candidates = set(result.recipe["search"]["percentiles"])
    for layer in result.layers:
        if layer.activation_granularity == "per_token":
            assert layer.percentile is None
        else:
            assert layer.percentile in candidates


def test_calibration_guard_and_test_share_no_sample(result, questions):
    searched, guard = set(result.calibration_ids), set(result.guard_ids)
    assert len(searched) == len(result.calibration_ids) == 2
    assert len(guard) == len(result.guard_ids) == 2  # one with an image and one without
    assert not searched & guard
    train = {sample.key for sample in open_source(str(questions), "train")}
    test = {sample.key for sample in open_source(str(questions), "test")}
    assert searched | guard <= train
    assert not (searched | guard) & test


def test_costs_seeds_and_surroundings(result, tiny_model, questions):
    stages = ["load", "observe", "dependency", "partition", "search", "round", "export"]
    assert list(result.stages) == stages
    assert all(cost.seconds >= 0 for cost in result.stages.values())
    assert result.total_seconds >= sum(cost.seconds for cost in result.stages.values())
    assert result.stages["observe"].forward_equivalents > 2
    assert result.stages["search"].forward_equivalents > 1
    assert result.peak_rss_bytes > 10**8
    assert result.seed == 0
    assert result.model == str(tiny_model)
    assert result.calibration_source == f"scienceqa:{questions}"
    assert {"python", "torch", "transformers", "safetensors"} <= set(result.versions)
    assert {"processor", "cores", "threads", "system"} == set(result.machine)


def test_artefacts_of_every_stage_can_be_read_back(result, quantized):
    recipe = load_recipe(quantized / "recipe.yaml")
    assert recipe.model_dump(mode="json") == result.recipe
    assert read_json(quantized / "artefacts" / "blocks.json", BlockPlan) == result.blocks
    clips = read_json(quantized / "artefacts" / "clipping.json", ClipPlan)
    assert clips.guard == result.guard
    stats = read_stats(quantized / "artefacts" / "statistics.safetensors")
    assert set(stats.sites) == set(clips.percentiles)
    assert all(len(tower.dependency) == len(stats.dependency[tower.tower])
               for tower in result.blocks.towers)  # fmt: skip


def test_blocks_cover_every_layer_once(result):
    for tower in result.blocks.towers:
        layers = [n for block in tower.blocks for n in range(block.start, block.stop)]
        assert layers == list(range(len(layers)))
        assert max(block.stop - block.start for block in tower.blocks) <= result.blocks.depth


def test_the_guard_takes_the_best_plan_and_the_blocks_that_improve_it(result, quantized):
    from qvlm.search.settle import label

    clips = read_json(quantized / "artefacts" / "clipping.json", ClipPlan)
    guard = result.guard
    assert guard is not None
    assert guard.blocks == len(clips.blocks)
    assert guard.plans[guard.base].total <= guard.plans["minmax"].total
    assert guard.final.total <= guard.plans[guard.base].total
    for block in clips.blocks:
        if label(block) in guard.kept_blocks:
            assert {site: clips.percentiles[site] for site in block.chosen} == block.chosen


def test_inspect_prints_the_result_as_it_is_stored(quantized, monkeypatch, capsys):
    from qvlm.cli.main import run

    monkeypatch.setattr("sys.argv", ["qvlm", "inspect", str(quantized), "--json"])
    with pytest.raises(SystemExit) as stop:
        run()
    assert stop.value.code == 0
    assert json.loads(capsys.readouterr().out) == json.loads(
        (quantized / "result.json").read_text()
    )
