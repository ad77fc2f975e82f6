"""ZeroQuant-V2: weights in groups, activations per token; rounding to nearest.

Without its low-rank compensation, which the paper of Q-VLM does not use either. DeepSpeed, where
it comes from, has no simulation that runs here, so this is our own nearest rounding.
"""

from __future__ import annotations

from compressor import outcome
from rival import Case, Outcome
from surroundings import quantize_surroundings


def quantize(case: Case) -> Outcome:
    """Quantizes the case's model in place."""
    quantize_surroundings(case, language=True)
    return outcome(case, "no low-rank compensation")
