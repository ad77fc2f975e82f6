"""The whole way on another device: whatever lies in the wrong place raises there, as on a GPU.

The device is one that is not there (`far.device`), in a process of its own: PyTorch would take it
for an accelerator in every later test.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

import qvlm
from qvlm.artefacts.analysis import Analysis
from qvlm.artefacts.result import Result
from qvlm.artefacts.scores import Scores
from qvlm.artefacts.store import read_json
from qvlm.artefacts.tensors import read_stats
from qvlm.models.place import repeatable
from qvlm.processes import own_device
from tiny.families import FAMILIES
from tiny.llava import save_llava
from tiny.scienceqa import write_as_folder

pytestmark = pytest.mark.filterwarnings("ignore:.* are zero in all calibration samples")
PROGRAM = Path(__file__).parents[1] / "tiny/processes.py"
SHORT = ("calibration.samples=4", "calibration.batch_size=2", "search.budget=3")
SEARCH = ("search.strategy=coordinate", "search.start=lp")
TINY = "llava-clip-llama"
CASES = {
    "per token": (TINY, "w8a8", ()),
    "rotated groups": (TINY, "w4a4", ()),
    "search and guard": (TINY, "w4a4-static", (*SEARCH, "calibration.guard_fraction=0.5")),
    "gradients": (
        TINY,
        "w6a6-static",
        (*SEARCH, "search.token_weights=gradient", "rounding.token_weights=gradient"),
    ),
    "the paper's letter": (TINY, "paper-w4a4", ("vision_optimization.epochs=1",)),
    "rounding in order": (
        TINY,
        "w4a16",
        ("rounding.activation_order=true", "rounding.token_weights=modality_balanced"),
    ),
    "errors as proxy": (
        TINY,
        "w4a4-static",
        ("partition.proxy=quantization_error", "search.strategy=beam", "search.start=lp"),
    ),
    "embeddings": (TINY, "w4a4", ("embeddings={bits: 8, granularity: per_channel}",)),
    "open_flamingo": ("open_flamingo", "w4a4-static", SEARCH),
    "experts": ("llava-qwen2_moe", "w4a4-static", SEARCH),
    "llava_next": ("llava_next", "w4a4-static", SEARCH),
    "mllama": ("mllama", "w4a4-static", SEARCH),
}


def process(runs: list[dict[str, Any]], *death: str) -> subprocess.CompletedProcess[str]:
    """Makes runs in another process."""
    return subprocess.run(
        [sys.executable, PROGRAM, json.dumps(runs), *death],
        env={**os.environ, "OMP_NUM_THREADS": "1", "RANK": "0", "WORLD_SIZE": "1"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def questions(questions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In these words no value of the tiny models lies right between two levels."""
    return write_as_folder(questions, tmp_path_factory.mktemp("folder"))


def quantization(model: Path, case: str, questions: Path, output: Path) -> dict[str, Any]:
    _, recipe, overrides = CASES[case]
    return {
        "model": str(model), "recipe": recipe, "calibration": f"folder:{questions}",
        "output": str(output), "overrides": [*SHORT, *overrides],
    }  # fmt: skip


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    names = dict.fromkeys(name for name, _, _ in CASES.values())
    return {name: save_llava(folder / name, *FAMILIES[name]()) for name in names}


@pytest.fixture(scope="module")
def there(
    models: dict[str, Path], questions: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A folder with everything that was done on the device."""
    folder = tmp_path_factory.mktemp("there")
    data = f"folder:{questions}"
    runs = [
        {
            "call": "quantize",
            "arguments": quantization(models[name], case, questions, folder / case),
        }
        for case, (name, _, _) in CASES.items()
    ]
    streamed = quantization(models[TINY], "rotated groups", questions, folder / "streamed")
    runs += [
        {"call": "quantize", "arguments": {**streamed, "memory": 2**33}},
        {
            "call": "analyze",
            "arguments": {
                "model": str(models[TINY]), "output": str(folder / "analysis"),
                "recipe": "w4a4-static", "calibration": data, "sweeps": "depth", "held_out": 2,
                "overrides": SHORT,
            },
        },
        {
            "call": "evaluate",
            "arguments": {
                "model": str(models[TINY]), "task": "scienceqa", "data": data,
                "max_new_tokens": 3, "output": str(folder / "scores.json"),
            },
        },
    ]  # fmt: skip
    for run in runs:
        run["arguments"]["device"] = "cuda"
    done = process(runs)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("case", CASES)
def test_ranges_are_those_of_the_cpu(
    case: str, there: Path, models: dict[str, Path], questions: Path, tmp_path: Path
) -> None:
    """Up to last bits; these may turn a choice, where two are as good, so choices may differ."""
    assert read_json(there / case / "result.json", Result).device == "far"
    run = quantization(models[CASES[case][0]], case, questions, tmp_path / "here")
    qvlm.quantize(**run)
    far, near = (
        read_stats(path / case_of / "artefacts/statistics.safetensors")
        for path, case_of in ((there, case), (tmp_path, "here"))
    )
    assert far.sites.keys() == near.sites.keys()
    for site, ranges in near.sites.items():
        for part in ("lower", "upper", "lp_error"):
            a, b = (getattr(found, part) for found in (far.sites[site], ranges))
            torch.testing.assert_close(a, b, rtol=0.01, atol=0.01 * float(b.abs().max()))
    for tower, links in near.dependency.items():
        assert far.dependency[tower] == pytest.approx(links, rel=0.01, abs=1e-3)


@pytest.mark.parametrize("case", ["per token", "rotated groups", "embeddings"])
def test_levels_are_those_of_the_cpu(
    case: str, there: Path, models: dict[str, Path], questions: Path, tmp_path: Path
) -> None:
    """But for a few, where last bits decide."""
    qvlm.quantize(**quantization(models[TINY], case, questions, tmp_path / "here"))
    with (
        safe_open(there / case / "qvlm.safetensors", "pt") as far,
        safe_open(tmp_path / "here/qvlm.safetensors", "pt") as near,
    ):
        assert far.keys() == near.keys()
        for name in near.keys():  # noqa: SIM118 - no mapping
            a, b = far.get_tensor(name), near.get_tensor(name)
            assert (a != b).double().mean() < 0.1, name


def test_layers_come_from_disk(there: Path) -> None:
    runs = ("rotated groups", "streamed")
    weights = [(there / run / "qvlm.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1]


def test_analysis_and_answers(there: Path) -> None:
    assert read_json(there / "analysis/analysis.json", Analysis).points
    assert read_json(there / "scores.json", Scores).columns


@pytest.mark.parametrize(("case", "stage"), [("rotated groups", "round"), ("search and guard",
                                             "observe")])  # fmt: skip
def test_goes_on_after_it_was_killed(
    case: str, stage: str, there: Path, models: dict[str, Path], questions: Path, tmp_path: Path
) -> None:
    """What the first process kept comes from files, that is, to the CPU first."""
    run = quantization(models[TINY], case, questions, tmp_path / "run")
    run["device"] = "cuda"
    assert process([{"call": "quantize", "arguments": run}], "0", stage, "2").returncode != 0
    again = {"call": "resume", "arguments": {"directory": run["output"]}, "far": True}
    done = process([again])
    assert done.returncode == 0, done.stderr
    assert read_json(tmp_path / "run/result.json", Result).resumed_steps
    weights = [
        (path / "qvlm.safetensors").read_bytes() for path in (tmp_path / "run", there / case)
    ]
    assert weights[0] == weights[1]


def test_a_process_takes_its_own_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_device("cuda") == "cuda:3"
    assert own_device("cuda:1") == "cuda:1"
    assert own_device("cpu") == "cpu"
    monkeypatch.delenv("LOCAL_RANK")
    assert own_device("cuda") == "cuda"


def test_settings_of_a_gpu_are_put_back() -> None:
    before = torch.backends.cudnn.allow_tf32, torch.are_deterministic_algorithms_enabled()
    with repeatable(torch.device("cuda")):
        assert not torch.backends.cudnn.allow_tf32
        assert torch.are_deterministic_algorithms_enabled()
    after = torch.backends.cudnn.allow_tf32, torch.are_deterministic_algorithms_enabled()
    assert after == before
