"""Schemes that ask more of an architecture than the presets do."""

from __future__ import annotations

from pathlib import Path

import pytest

import qvlm
from tiny.families import FAMILIES
from tiny.llava import save_llava

pytestmark = pytest.mark.filterwarnings("ignore:.* are zero in all calibration samples")
SHORT = ("calibration.samples=4", "calibration.batch_size=2", "search.budget=3")
STATIC_VISION = "vision.activations.granularity=per_channel"


@pytest.mark.parametrize(
    ("name", "override"),
    [
        ("llava_next", STATIC_VISION),
        ("qwen3_vl", STATIC_VISION),
        ("mllama", STATIC_VISION),
        ("mllama", "search.token_weights=gradient"),
        ("llava-mixtral", "exclude=['experts.1.']"),
        ("llava-mixtral", "search.token_weights=gradient"),
    ],
)
def test_it_is_searched_saved_and_loaded(
    name: str, override: str, tmp_path: Path, questions: Path
) -> None:
    directory = save_llava(tmp_path / "model", *FAMILIES[name]())
    result = qvlm.quantize(
        directory,
        "w4a4-static",
        f"scienceqa:{questions}",
        tmp_path / "q",
        overrides=(*SHORT, override),
    )
    model, _ = qvlm.load(tmp_path / "q")
    assert {layer.path for layer in result.layers} <= dict(model.named_modules()).keys()
    searched = {name for block in result.blocks.towers for name in [block.tower]}
    assert (override != STATIC_VISION) or "vision" in searched
    assert any("experts.1." in path for path in result.skipped) == override.startswith("exclude")
