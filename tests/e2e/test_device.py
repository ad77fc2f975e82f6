"""The whole way on another device: whatever lies in the wrong place raises there, as on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

import qvlm
from far.device import far_device
from qvlm.models import load_model
from qvlm.models.place import device_of, repeatable
from qvlm.runtime.kernels import gpu
from qvlm.workers import own_device
from tiny.families import FAMILIES
from tiny.llava import save_llava

pytestmark = pytest.mark.filterwarnings("ignore:.* are zero in all calibration samples")
SHORT = ("calibration.samples=4", "calibration.batch_size=2", "search.budget=3")
SEARCH = ("search.strategy=coordinate", "search.start=lp")
RECIPES = {
    "w8a8": (),
    "w4a4": (),
    "w4a4-static": (*SEARCH, "calibration.guard_fraction=0.5"),
    "w6a6-static": (*SEARCH, "search.token_weights=gradient", "rounding.token_weights=gradient"),
    "paper-w4a4": ("vision_optimization.epochs=1",),
    "w4a16": ("rounding.activation_order=true", "rounding.token_weights=modality_balanced"),
}
PROXY = ("partition.proxy=quantization_error", "search.strategy=beam", "search.start=lp")
OTHERS = ("open_flamingo", "llava-qwen2_moe", "llava_next", "mllama")


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """The device that `cuda` stands for in the test."""
    with far_device() as far:
        monkeypatch.setattr(gpu, "usable_device", lambda name: far)
        yield far


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_stage_runs_there(
    recipe: str, tiny_model: Path, questions: Path, tmp_path: Path, device: torch.device
) -> None:
    result = _quantized(tiny_model, recipe, RECIPES[recipe], questions, tmp_path / "there")
    assert result.device == device.type
    _check_alike(tmp_path, tiny_model, recipe, RECIPES[recipe], questions)


def test_the_other_proxy_and_strategy(
    tiny_model: Path, questions: Path, tmp_path: Path, device: torch.device
) -> None:
    _quantized(tiny_model, "w4a4-static", PROXY, questions, tmp_path / "there")
    _check_alike(tmp_path, tiny_model, "w4a4-static", PROXY, questions)


@pytest.mark.parametrize("name", OTHERS)
def test_other_architectures(
    name: str, questions: Path, tmp_path: Path, device: torch.device
) -> None:
    model = save_llava(tmp_path / "model", *FAMILIES[name]())
    _quantized(model, "w4a4-static", SEARCH, questions, tmp_path / "there")
    _check_alike(tmp_path, model, "w4a4-static", SEARCH, questions)


@pytest.mark.usefixtures("device")
def test_layers_come_from_disk(tiny_model: Path, questions: Path, tmp_path: Path) -> None:
    run = tmp_path / "streamed"
    _quantized(tiny_model, "w4a4", (), questions, tmp_path / "whole")
    _quantized(tiny_model, "w4a4", (), questions, run, memory=2**33)
    weights = [(path / "qvlm.safetensors").read_bytes() for path in (run, tmp_path / "whole")]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("recipe", ["w4a4", "w4a4-static"])
@pytest.mark.usefixtures("device")
def test_goes_on_after_an_interruption(
    recipe: str, tiny_model: Path, questions: Path, tmp_path: Path
) -> None:
    """What an earlier process kept comes from files, that is, to the CPU first."""
    overrides = RECIPES[recipe]
    _quantized(tiny_model, recipe, overrides, questions, tmp_path / "whole")
    for after in ("observe", "search", "round"):
        run = tmp_path / after

        def stop(stage: str, done: int, total: int, note: str = "", at: str = after) -> None:
            if (stage, done) == (at, 2):
                raise KeyboardInterrupt

        try:
            _quantized(tiny_model, recipe, overrides, questions, run, progress=stop)
        except KeyboardInterrupt:
            assert qvlm.resume(run).resumed_steps
        weights = [(path / "qvlm.safetensors").read_bytes() for path in (run, tmp_path / "whole")]
        assert weights[0] == weights[1]


def test_analysis(tiny_model: Path, questions: Path, tmp_path: Path, device: torch.device) -> None:
    found = qvlm.analyze(
        tiny_model, tmp_path / "analysis", "w4a4-static", f"scienceqa:{questions}",
        sweeps="depth", held_out=2, overrides=SHORT, device=device.type,
    )  # fmt: skip
    assert found.points


def test_answers(tiny_model: Path, questions: Path, device: torch.device) -> None:
    data = {"data": f"scienceqa:{questions}", "max_new_tokens": 3}
    there = qvlm.evaluate(tiny_model, "scienceqa", **data, device=device.type)
    assert there.columns


def test_model_is_where_it_was_asked_for(tiny_model: Path, device: torch.device) -> None:
    model = load_model(tiny_model, device=device).model
    assert device_of(model) == device
    assert {parameter.device for parameter in model.parameters()} == {device}


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


def _quantized(
    model: Path, recipe: str, overrides: tuple[str, ...], questions: Path, output: Path, **more: Any
) -> Any:
    return qvlm.quantize(
        model, recipe, f"scienceqa:{questions}", output, overrides=(*SHORT, *overrides),
        device="cuda", **more,
    )  # fmt: skip


def _check_alike(
    folder: Path, model: Path, recipe: str, overrides: tuple[str, ...], questions: Path
) -> None:
    """The same choices as on the CPU but for last bits: few levels differ, none by far."""
    qvlm.quantize(
        model, recipe, f"scienceqa:{questions}", folder / "here", overrides=(*SHORT, *overrides)
    )
    with (
        safe_open(folder / "there" / "qvlm.safetensors", "pt") as there,
        safe_open(folder / "here" / "qvlm.safetensors", "pt") as here,
    ):
        assert there.keys() == here.keys()
        for name in here.keys():  # noqa: SIM118 - no mapping
            a, b = there.get_tensor(name), here.get_tensor(name)
            if a.is_floating_point():
                assert torch.allclose(a.float(), b.float(), rtol=0.05, atol=1e-3), name
            else:
                assert (a != b).double().mean() < 0.1, name
