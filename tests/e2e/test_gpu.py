"""On an NVIDIA GPU, where there is one: calibration that repeats, and answers like the CPU's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import qvlm
from qvlm.data import open_source
from qvlm.data.batches import prompt_inputs

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
    pytest.mark.filterwarnings("ignore:.* are zero in all calibration samples"),
]
SHORT = ("calibration.samples=4", "calibration.batch_size=2", "search.budget=3")
SEARCH = ("search.strategy=coordinate", "search.start=lp", "calibration.guard_fraction=0.5")
RECIPES = {"w4a4": (), "w8a8": (), "w6a6-static": SEARCH, "paper-w4a4": ()}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_second_run_writes_the_same_bytes(
    recipe: str, tiny_model: Path, questions: Path, tmp_path: Path
) -> None:
    weights = []
    for name in ("first", "second"):
        result = qvlm.quantize(
            tiny_model, recipe, f"scienceqa:{questions}", tmp_path / name,
            overrides=(*SHORT, *RECIPES[recipe]), device="cuda",
        )  # fmt: skip
        assert result.device == torch.cuda.get_device_name()
        weights.append((tmp_path / name / "qvlm.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_layers_from_disk(tiny_model: Path, questions: Path, tmp_path: Path) -> None:
    weights = []
    for memory in (None, 2**34):
        output = tmp_path / str(memory)
        qvlm.quantize(
            tiny_model, "w4a4", f"scienceqa:{questions}", output, overrides=SHORT, device="cuda",
            memory=memory,
        )  # fmt: skip
        weights.append((output / "qvlm.safetensors").read_bytes())
    assert weights[0] == weights[1]


@torch.no_grad()
def test_pico_llava_answers_as_on_the_cpu(tmp_path: Path) -> None:
    """W4A4 on Triton's kernels: the tokens of the CPU's definition."""
    qvlm.quantize("pico-llava", "w4a4", output=tmp_path / "run", device="cuda")
    there, processor = qvlm.load(tmp_path / "run", device="cuda")
    here, _ = qvlm.load(tmp_path / "run", allow_fallback=True)
    assert {choice.kernel for choice in there.qvlm_kernels.values()} == {"triton"}
    samples = [sample for sample in open_source("picoscience", "test") if sample.image][:32]
    inputs = prompt_inputs(samples, processor)
    far = {name: tensor.cuda() for name, tensor in inputs.items()}
    tokens = there.generate(**far, do_sample=False, max_new_tokens=8).cpu()
    expected = here.generate(**inputs, do_sample=False, max_new_tokens=8)
    rows = min(tokens.shape[1], expected.shape[1])
    same = (tokens[:, :rows] == expected[:, :rows]).all(dim=1)
    # The layers between are PyTorch's, whose floats differ in last bits: few answers may.
    assert same.double().mean() >= 0.9
