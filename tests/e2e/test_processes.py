"""Several processes write the bytes that one writes; when one dies, all stop and it can go on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

import qvlm
from qvlm.artefacts.plan import BlockPlan, ClipPlan
from qvlm.artefacts.result import Result
from qvlm.artefacts.store import read_json
from qvlm.artefacts.tensors import read_stats
from tiny.families import FAMILIES
from tiny.llava import save_llava

PROGRAM = Path(__file__).parents[1] / "tiny" / "processes.py"
FILES = ("qvlm.safetensors", "quantization.json", "config.json", "recipe.yaml")
SMALL = ("calibration.samples=7", "calibration.batch_size=1")
SEARCH = ("search.strategy=coordinate", "search.start=lp", "search.budget=4")
"""Five batches to calibrate on and two to guard: two and three processes get unequal shares."""
CASES: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "searched and guarded": ("w4a4-static", SEARCH, {}),
    "by gradient, site by site": (
        "w4a4-static",
        (
            *SEARCH, "partition.proxy=quantization_error", "search.token_weights=gradient",
            "rounding.token_weights=gradient", "rounding.passes=site",
            "vision_optimization={epochs: 1}",
        ),
        {},
    ),
    "layers on disk": ("w4a4", ("vision.weights.rounding=nearest",), {"memory": 8 << 30}),
}  # fmt: skip
STOP_SECONDS = 60
"""In which all processes have to end after one has died."""


def torchrun(count: int, *arguments: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
            str(count), PROGRAM, *arguments,
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def run_of(model: Path, questions: Path, output: Path, case: str) -> dict[str, Any]:
    recipe, overrides, options = CASES[case]
    return {
        "model": str(model), "recipe": recipe, "calibration": f"scienceqa:{questions}",
        "output": str(output), "overrides": (*SMALL, *overrides), **options,
    }  # fmt: skip


@pytest.fixture(scope="module")
def one_thread():
    """As in the processes: how sums are cut depends on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def check_same(run: Path, other: Path) -> None:
    for name in FILES:
        assert (run / name).read_bytes() == (other / name).read_bytes(), name
    for name, kind in (("blocks", BlockPlan), ("clipping", ClipPlan)):
        found = [read_json(path / f"artefacts/{name}.json", kind) for path in (run, other)]
        seconds = [part.model_copy(update={"seconds": 0.0}) for part in found]
        assert seconds[0] == seconds[1], name
    stats = [read_stats(path / "artefacts/statistics.safetensors") for path in (run, other)]
    assert stats[0].dependency == stats[1].dependency
    for site, ranges in stats[0].sites.items():
        for part in ("lower", "upper", "lp_error"):
            assert torch.equal(getattr(ranges, part), getattr(stats[1].sites[site], part)), site
        assert ranges.tokens == stats[1].sites[site].tokens


@pytest.mark.parametrize(("count", "cases"), [(2, tuple(CASES)), (3, tuple(CASES)[:1])])
def test_the_bytes_of_one_process(tiny_model, questions, tmp_path, one_thread, count, cases):
    runs = [run_of(tiny_model, questions, tmp_path / f"{case}, shared", case) for case in cases]
    calls = json.dumps([{"call": "quantize", "arguments": run} for run in runs])
    outcome = torchrun(count, calls)
    assert outcome.returncode == 0, outcome.stderr
    assert outcome.stdout.count(f"{count} processes") == count * len(cases)
    for case in cases:
        alone = tmp_path / f"{case}, alone"
        qvlm.quantize(**run_of(tiny_model, questions, alone, case))
        check_same(tmp_path / f"{case}, shared", alone)
        assert read_json(tmp_path / f"{case}, shared" / "result.json", Result).processes == count


def test_each_on_a_device(tiny_model, questions, tmp_path):
    """Two processes on another device than the CPU write the bytes of one there."""
    run = run_of(tiny_model, questions, tmp_path / "shared", "searched and guarded")
    run["device"] = "cuda"
    outcome = torchrun(2, json.dumps([{"call": "quantize", "arguments": run}]))
    assert outcome.returncode == 0, outcome.stderr
    alone = {**run, "output": str(tmp_path / "alone")}
    assert torchrun(1, json.dumps([{"call": "quantize", "arguments": alone}])).returncode == 0
    check_same(tmp_path / "shared", tmp_path / "alone")


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 3])
def test_experts(questions, tmp_path, one_thread, count):
    model = save_llava(tmp_path / "model", *FAMILIES["llava-mixtral"]())
    for overrides in ((), ("calibration.expert_tokens=0", "rounding.passes=site")):
        run = run_of(model, questions, tmp_path / "alone", "searched and guarded")
        run["overrides"] = (*run["overrides"], *overrides)
        qvlm.quantize(**run, overwrite=True)
        run = {**run, "output": str(tmp_path / "shared"), "overwrite": True}
        outcome = torchrun(count, json.dumps([{"call": "quantize", "arguments": run}]))
        assert outcome.returncode == 0, outcome.stderr
        check_same(tmp_path / "shared", tmp_path / "alone")


DEATHS = [
    ("1", "round", 2, 1),
    pytest.param("0", "round", 3, 3, marks=pytest.mark.slow),
    pytest.param("0", "observe", 2, 2, marks=pytest.mark.slow),
    pytest.param("1", "observe", 4, 3, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("rank", "stage", "layer", "then"), DEATHS)
def test_one_dies(tiny_model, questions, tmp_path, one_thread, rank, stage, layer, then):
    case = "searched and guarded"
    run = run_of(tiny_model, questions, tmp_path / "shared", case)
    call = json.dumps([{"call": "quantize", "arguments": run}])
    died = time.monotonic()
    outcome = torchrun(2, call, rank, stage, str(layer))
    # The seconds before the death count too.
    assert time.monotonic() - died < STOP_SECONDS
    assert outcome.returncode != 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shared.partial"]
    if then == 1:
        result = qvlm.resume(tmp_path / "shared")
        assert result.resumed_steps > 0
    else:
        call = json.dumps([{"call": "resume", "arguments": {"directory": run["output"]}}])
        assert torchrun(then, call).returncode == 0
    assert not (tmp_path / "shared.partial").exists()
    qvlm.quantize(**run_of(tiny_model, questions, tmp_path / "alone", case))
    check_same(tmp_path / "shared", tmp_path / "alone")


def test_bad_input_is_said_and_nothing_waits(tiny_model, questions, tmp_path):
    (tmp_path / "there").mkdir()
    run = run_of(tiny_model, questions, tmp_path / "there", "searched and guarded")
    outcome = torchrun(2, json.dumps([{"call": "quantize", "arguments": run}]))
    assert outcome.returncode != 0
    assert "there' exists: choose another, or pass --overwrite" in outcome.stderr
    assert not list((tmp_path / "there").iterdir())
