"""The questions that judge the variants: a split that neither calibrates nor trains."""

from __future__ import annotations

from typing import Any

from qvlm.analysis import Judge
from qvlm.data import choose, open_source
from qvlm.data.batches import calibration_batches


def open_judge(model: Any, processor: Any, source: str, split: str, count: int) -> Judge:
    """Draws questions; the judge keeps the full-precision model's distributions."""
    samples = choose(open_source(source, split), count, seed=0)
    # Questions of like length together: padding costs as much as text.
    samples.sort(key=lambda sample: (sample.image is None, len(sample.question)))
    return Judge(model, calibration_batches(samples, processor, 25))
