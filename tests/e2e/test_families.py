"""Every architecture from its saved model to generated tokens, at three bit widths."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import qvlm
from qvlm.artefacts.result import Result
from qvlm.data import Sample, open_source
from qvlm.data.batches import prompt_inputs
from qvlm.runtime import QuantizedLinear
from tiny.families import FAMILIES, IMAGES_ONLY
from tiny.llava import save_llava

pytestmark = pytest.mark.filterwarnings("ignore:.* are zero in all calibration samples")
SHORT = ("calibration.samples=4", "calibration.batch_size=2", "search.budget=3")
EXPERT_TOKENS = 64


@dataclass(frozen=True)
class Saved:
    """A variant's saved full-precision model, and questions that its processor takes."""

    name: str
    directory: Path
    questions: Path

    @property
    def samples(self) -> list[Sample]:
        return open_source(f"scienceqa:{self.questions}", "train")


@pytest.fixture(scope="session")
def image_questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny ScienceQA with images in every training question."""
    from tiny.scienceqa import write_scienceqa

    root = write_scienceqa(tmp_path_factory.mktemp("images"), train=8)
    problems = json.loads((root / "problems.json").read_text())
    splits = json.loads((root / "pid_splits.json").read_text())
    splits["train"] = [key for key in splits["train"] if problems[key]["image"]]
    (root / "pid_splits.json").write_text(json.dumps(splits))
    return root


@pytest.fixture(scope="module", params=FAMILIES)
def saved(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    questions: Path,
    image_questions: Path,
) -> Saved:
    name = request.param
    directory = save_llava(tmp_path_factory.mktemp(name) / "model", *FAMILIES[name]())
    return Saved(name, directory, image_questions if name in IMAGES_ONLY else questions)


@pytest.mark.parametrize("recipe", ["w8a8", "w6a6", "w4a4"])
@torch.no_grad()
def test_quantize_load_generate(saved: Saved, recipe: str, tmp_path: Path) -> None:
    output = tmp_path / "run"
    result = qvlm.quantize(
        saved.directory, recipe, f"scienceqa:{saved.questions}", output, overrides=SHORT
    )
    integer, processor = qvlm.load(output)
    simulated, _ = qvlm.load(output, arithmetic="simulated")
    _check_what_is_quantized(integer, result)
    for sample in saved.samples[:2]:
        inputs = prompt_inputs([sample], processor)
        ours, theirs = (_generated(model, inputs) for model in (integer, simulated))
        assert torch.equal(ours.sequences, theirs.sequences)
        for a, b in zip(ours.logits, theirs.logits, strict=True):
            assert torch.isfinite(a).all()
            assert torch.equal(a, b)


def _generated(model: Any, inputs: dict[str, torch.Tensor]) -> Any:
    return model.generate(
        **inputs, do_sample=False, max_new_tokens=2, return_dict_in_generate=True,
        output_logits=True,
    )  # fmt: skip


def _check_what_is_quantized(model: Any, result: Result) -> None:
    """All that the result calls quantized is, and sparse experts are told of."""
    integers = {
        name for name, module in model.named_modules() if isinstance(module, QuantizedLinear)
    }
    assert integers == {layer.path for layer in result.layers}
    others = {name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    assert others <= set(result.skipped)
    assert all(tokens < EXPERT_TOKENS for tokens in result.sparse_experts.values())
    has_experts = any(".experts." in layer.path for layer in result.layers)
    assert has_experts or not result.sparse_experts
