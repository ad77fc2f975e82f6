"""How many more questions a method gets right than qvlm's preset: the same ones, one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from methods import METHODS

from qvlm.evaluation.compare import bootstrap

RESAMPLES = 10_000
Runs = dict[str, Any]
"""Seed -> cell."""


def difference(record: dict[str, Any], method: str, width: str) -> str:
    """Points by which a method is above the preset, and a 95 % interval over the questions.

    Averaged over the calibration seeds that both ran. Empty where none is common, or where a cell
    did not keep which questions it got right.
    """
    preset: Runs = record["cells"].get("qvlm", {}).get(width, {})
    steps = [
        _credits(other) - _credits(own)
        for seed, own in preset.items()
        if (other := _of_seed(record, method, width, seed)) and "credits" in own
    ]
    if not steps or method == "qvlm":
        return ""
    mean = np.mean(steps, axis=0)
    low, high = np.percentile(100 * bootstrap(mean, RESAMPLES, 0), [2.5, 97.5])
    return f"{100 * mean.mean():+.1f} ({low:+.1f} to {high:+.1f})"


def _of_seed(record: dict[str, Any], method: str, width: str, seed: str) -> Runs | None:
    """The cell to set beside the preset's; of a method without a draw, its only one."""
    runs: Runs = record["cells"].get(method, {}).get(width, {})
    cell = runs.get(seed, {}) if METHODS[method].draws else next(iter(runs.values()), {})
    return cell if "credits" in cell else None


def _credits(cell: Runs) -> np.ndarray:
    return np.array([int(credit) for credit in cell["credits"]])
