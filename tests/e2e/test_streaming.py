"""With layers on disk, a run writes the bytes that it writes with the model in memory."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

import qvlm
from qvlm import machine
from qvlm.errors import RecipeError
from qvlm.models import experts
from qvlm.runtime import SimulatedLinear
from tiny.families import FAMILIES
from tiny.llava import save_llava

GIB = 1 << 30
AMPLE = 8 * GIB
"""The process that tests run in has grown before."""
SMALL = ("calibration.samples=4", "calibration.batch_size=2")
FILES = ("qvlm.safetensors", "quantization.json", "config.json", "recipe.yaml")
CASES = {
    "w8a8": ("llava-clip-llama", "w8a8", ()),
    "head to second order, vision to nearest": (
        "llava-siglip-qwen2",
        "w4a4",
        ("lm_head.weights.rounding=gptq", "vision.weights.rounding=nearest"),
    ),
    "experts": ("llava-mixtral", "w4a4", ()),
}


@pytest.mark.parametrize(("variant", "recipe", "overrides"), CASES.values(), ids=CASES.keys())
def test_the_same_bytes(
    tmp_path: Path, questions: Path, variant: str, recipe: str, overrides: tuple[str, ...]
) -> None:
    model = save_llava(tmp_path / "model", *FAMILIES[variant]())
    for name, memory in (("whole", None), ("streamed", AMPLE)):
        qvlm.quantize(
            model, recipe, f"scienceqa:{questions}", tmp_path / name,
            overrides=(*SMALL, *overrides), memory=memory,
        )  # fmt: skip
    for file in FILES:
        whole, streamed = ((tmp_path / run / file).read_bytes() for run in ("whole", "streamed"))
        assert whole == streamed, file


@pytest.mark.parametrize(
    ("recipe", "floats"), [("w4a4", 1), ("w4a4-static", 1), ("w8a8-dynamic", 0)]
)
@pytest.mark.parametrize("variant", ["llava-mixtral", "moe_llava-phi"])
def test_the_same_bytes_where_experts_come_one_at_a_time(
    tmp_path: Path,
    questions: Path,
    variant: str,
    recipe: str,
    floats: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = save_llava(tmp_path / "model", *FAMILIES[variant]())
    data = f"scienceqa:{questions}"
    qvlm.quantize(model, recipe, data, tmp_path / "whole", overrides=SMALL)
    made: list[weakref.ref[torch.Tensor]] = []
    most = 0

    def matrix(linear: SimulatedLinear, original: Any = SimulatedLinear.matrix) -> torch.Tensor:
        nonlocal most
        found = original(linear)
        if linear.weight.is_meta:
            made.append(weakref.ref(found))
            most = max(most, sum(each() is not None for each in made))
        return found

    monkeypatch.setattr(SimulatedLinear, "matrix", matrix)
    monkeypatch.setattr(experts, "AT_ONCE", 0)
    qvlm.quantize(model, recipe, data, tmp_path / "one", overrides=SMALL, memory=AMPLE)
    assert most == floats  # of one linear; none where nothing is asked once it is rounded
    for file in FILES:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_a_streamed_run_is_resumed_streamed(
    tiny_model: Path, questions: Path, tmp_path: Path
) -> None:
    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "round" and done == 4:
            raise KeyboardInterrupt

    runs = {name: tmp_path / name for name in ("broken", "whole")}
    data = f"scienceqa:{questions}"
    with pytest.raises(KeyboardInterrupt):
        qvlm.quantize(
            tiny_model, "w4a4", data, runs["broken"], overrides=SMALL, memory=AMPLE, progress=stop
        )
    result = qvlm.resume(runs["broken"])
    assert result.resumed_steps == 6 + 4
    assert all(cost.seconds >= 0 for cost in result.stages.values())
    qvlm.quantize(tiny_model, "w4a4", data, runs["whole"], overrides=SMALL)
    for file in FILES:
        assert (runs["broken"] / file).read_bytes() == (runs["whole"] / file).read_bytes(), file


@pytest.mark.parametrize(
    "override",
    [
        "search.strategy=coordinate",
        "rounding.token_weights=gradient",
        "partition.proxy=quantization_error",
        "calibration.guard_fraction=0.5",
        "vision_optimization={}",
    ],
)
def test_recipes_that_need_the_whole_model_say_so(tmp_path: Path, override: str) -> None:
    with pytest.raises(RecipeError, match=r"needs the whole model in memory: leave out --memory"):
        qvlm.quantize("pico-llava", output=tmp_path / "out", overrides=(override,), memory=GIB)


def test_a_wrong_estimate_is_said(
    tiny_model: Path, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peaks = iter([GIB])
    monkeypatch.setattr(machine, "peak_rss_bytes", lambda: next(peaks, 9 * GIB))
    with pytest.warns(UserWarning, match="more than --memory"):
        result = qvlm.quantize(
            tiny_model, "w4a4", f"scienceqa:{questions}", tmp_path / "run", overrides=SMALL,
            memory=AMPLE,
        )  # fmt: skip
    assert any("took 9.00 GiB, more than --memory 8.00 GiB" in line for line in result.warnings)
