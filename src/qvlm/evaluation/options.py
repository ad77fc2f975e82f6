"""Answers chosen among options: the log-probability of each, as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping


def write_options(weights: Mapping[str, float]) -> str:
    """Returns the answer that stands for the log-probabilities of options."""
    return json.dumps(dict(weights))


def read_options(text: str) -> dict[str, float] | None:
    """Returns the log-probabilities of an answer, or None where it is no such answer."""
    try:
        weights = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(weights, dict) or not weights:
        return None
    finite = all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        for value in weights.values()
    )
    return weights if finite else None


def likeliest(weights: Mapping[str, float]) -> str:
    """Returns the option of the highest log-probability, the first of several."""
    return max(weights, key=lambda option: weights[option])
