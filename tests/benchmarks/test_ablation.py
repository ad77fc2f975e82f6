"""The ablation: every kind of variant runs, and parts are put together."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from qvlm.models import load_model

FOLDER = Path(__file__).parents[2] / "benchmarks/ablation"
SMALL = ("calibration.samples=8", "calibration.batch_size=2", "search.budget=3")
VARIANTS = ("min-max", "+ CDM + VEO", "+ CDM + guard + gptq", "paper's letter", "default, gradient")

pytestmark = pytest.mark.filterwarnings("ignore:.* are zero in all calibration samples")


@pytest.fixture
def ablation(monkeypatch: pytest.MonkeyPatch):
    """Its scripts; another benchmark has a `run`, too."""
    names = ("judge", "merge", "run", "variants")
    others = {name: sys.modules.pop(name) for name in names if name in sys.modules}
    monkeypatch.syspath_prepend(FOLDER)
    yield [importlib.import_module(name) for name in names]
    for name in names:
        del sys.modules[name]
    sys.modules.update(others)


def test_variants_run_and_leave_the_model_as_it_was(ablation, tiny_model, questions):
    judge, _, run, variants = ablation
    source = f"scienceqa:{questions}"
    loaded = load_model(tiny_model)
    before = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
    judged = judge.open_judge(loaded, source, "test", 4)
    calibration = run.Calibration(loaded, source, "w4a4", 0)
    cells = {}
    for name in VARIANTS:
        trains = "vision_optimization={}" in variants.VARIANTS[name]
        more = (*SMALL, "vision_optimization.epochs=1") if trains else SMALL
        cells[name] = calibration.measure((*variants.VARIANTS[name], *more), judged)
        after = loaded.model.state_dict()
        assert after.keys() == before.keys()
        assert all(after[key].equal(tensor) for key, tensor in before.items())
    assert cells["+ CDM + VEO"]["vision"]["epochs"]
    assert "vision" not in cells["min-max"]
    assert cells["paper's letter"]["search_forwards"] > 0 == cells["min-max"]["search_forwards"]
    assert cells["+ CDM + guard + gptq"]["guard"]["samples"] == 2
    assert all(cell["kl"] > 0 for cell in cells.values())


def test_parts_become_one_file(ablation):
    _, merge, _, _ = ablation
    setting = dict.fromkeys(merge.SAME, 1)
    first = {**setting, "runs": {"lp": {"1": "old", "0": "kept"}}}
    second = {**setting, "runs": {"min-max": {"0": "new"}, "lp": {"1": "new"}}}
    runs = merge.merged([first, second])["runs"]
    assert list(runs.items()) == [
        ("min-max", {"0": "new"}),
        ("lp", {"0": "kept", "1": "new"}),
    ]
    with pytest.raises(ValueError, match="width is 'w6a6', and 1 in another file"):
        merge.merged([first, {**second, "width": "w6a6"}])
