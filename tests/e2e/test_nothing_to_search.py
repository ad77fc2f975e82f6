"""A search of a recipe whose ranges are all found at run time."""

from __future__ import annotations

import pytest

import qvlm


def test_it_is_said_and_recorded(tiny_model, questions, tmp_path):
    small = ("calibration.samples=4", "calibration.batch_size=2", "search.strategy=coordinate")
    with pytest.warns(UserWarning, match="finds nothing to search"):
        result = qvlm.quantize(
            tiny_model, "w4a4", f"scienceqa:{questions}", tmp_path / "run", overrides=small
        )
    assert any("finds nothing to search" in warning for warning in result.warnings)
    assert result.stages["search"].forward_equivalents == 0
