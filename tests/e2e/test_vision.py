"""A whole run with the vision-encoder optimization."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import qvlm
from qvlm.artefacts.result import Result
from qvlm.artefacts.store import read_json
from qvlm.artefacts.tensors import read_tensors
from qvlm.artefacts.vision import VisionPlan
from qvlm.errors import DataError
from qvlm.models import load_model
from qvlm.runtime.load import read_index
from qvlm.vision import apply_tensors

OVERRIDES = (
    "calibration.samples=8",
    "calibration.batch_size=2",
    "search.strategy=none",
    *(f"{tower}.weights.rounding=nearest" for tower in ("language", "projector", "vision")),
    "vision_optimization.epochs=2",
    "vision_optimization.learning_rate=1e-4",
    "vision_optimization.error_weight=100",  # so that an epoch is better than none
)


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_model, questions) -> Path:
    output = tmp_path_factory.mktemp("vision") / "run"
    qvlm.quantize(tiny_model, "w4a4-static", f"scienceqa:{questions}", output, overrides=OVERRIDES)
    return output


@pytest.fixture(scope="module")
def result(run) -> Result:
    return read_json(run / "result.json", Result)


def test_the_result_tells_what_the_training_did(run, result):
    vision = result.vision
    assert vision is not None
    assert vision == read_json(run / "artefacts" / "vision.json", VisionPlan)
    training = vision.training
    assert training.chosen_epoch > 0
    assert training.settings.error_weight == 100
    assert (training.training_samples, training.validation_samples) == (3, 1)
    cost = result.stages["vision"]
    assert (cost.seconds, cost.forward_equivalents) == (
        training.seconds, training.forward_equivalents
    )  # fmt: skip
    assert list(result.stages)[1:6] == ["observe", "dependency", "partition", "vision", "search"]
    assert result.stages["observe"].forward_equivalents > 4, "observed before and after"


def test_the_blocks_after_are_those_searched_for_the_threshold_before(result):
    before, after = result.vision.blocks_before, result.vision.blocks_after
    assert after == result.blocks
    for old, new in zip(before.towers, after.towers, strict=True):
        assert old.threshold == new.threshold
        assert old.blocks[-1].stop == new.blocks[-1].stop
    language = [plan.towers[-1].dependency for plan in (before, after)]
    assert language[0] != language[1]


def test_the_checkpoint_holds_the_trained_tower(run, tiny_model):
    trained = read_tensors(run / "artefacts" / "vision.safetensors")
    stored = read_tensors(run / "qvlm.safetensors")
    original = load_model(tiny_model).model.state_dict()
    quantized = {f"{layer.path}.weight" for layer in read_index(run).layers}
    in_float = {name for name in trained if name not in quantized}
    assert any(not torch.equal(original[name], trained[name]) for name in in_float)
    assert any("layer_norm" in name for name in in_float)
    for name in in_float:
        assert torch.equal(stored[name], trained[name]), name
    model, _ = qvlm.load(run)
    loaded = model.state_dict()
    for name in in_float & set(loaded):
        assert torch.equal(loaded[name], trained[name]), name


def test_the_artefacts_put_the_same_tower_into_a_fresh_model(run, tiny_model):
    from qvlm.models import describe
    from qvlm.numerics.packing import pack_bits
    from qvlm.runtime import quantize_linear
    from qvlm.schemes import load_recipe

    recipe = load_recipe(run / "recipe.yaml")
    fresh = load_model(tiny_model).model
    apply_tensors(fresh, read_tensors(run / "artefacts" / "vision.safetensors"))
    stored = read_tensors(run / "qvlm.safetensors")
    scheme = recipe.vision
    for site in describe(fresh, recipe).sites_of("vision"):
        for path in site.linears:
            weight = quantize_linear(fresh.get_submodule(path), scheme, 32, None).weight
            packed = stored[f"{path}.weight_packed"]
            assert torch.equal(pack_bits(weight.levels, weight.bits), packed), path


def test_projector_and_language_model_are_those_of_the_original(run, tiny_model):
    stored = read_tensors(run / "qvlm.safetensors")
    for name, tensor in load_model(tiny_model).model.state_dict().items():
        if "vision_tower" not in name and name in stored:
            assert torch.equal(stored[name], tensor), name


def test_samples_without_images_are_one_clear_error(tiny_model, questions_copy, tmp_path):
    from tiny.scienceqa import edit_problem

    for number in range(8):
        edit_problem(questions_copy, f"t{number}", image=None)
    vision = ("vision=null", "projector=null")
    with pytest.raises(DataError, match=r"needs 2 calibration samples with an image, 0 have one"):
        qvlm.quantize(
            tiny_model, "w4a4-static", f"scienceqa:{questions_copy}", tmp_path / "out",
            overrides=(*OVERRIDES, *vision),
        )  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_inspect_shows_it(run, monkeypatch, capsys):
    from qvlm.cli.main import run as main

    monkeypatch.setattr("sys.argv", ["qvlm", "inspect", str(run)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    assert "vision optimization" in capsys.readouterr().out
