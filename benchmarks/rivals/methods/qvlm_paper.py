"""The paper's letter: exhaustive search in entropy-guided blocks, plain L2, tower optimization."""

from __future__ import annotations

from presets import run
from rival import Case, NotApplicableError, Outcome

from qvlm.schemes.layer import FLOAT_BITS


def quantize(case: Case) -> Outcome:
    """Quantizes and saves by the preset `paper-w4a4` with the width's bits."""
    scheme = case.scheme
    if scheme.activations.bits == FLOAT_BITS:
        raise NotApplicableError("activations stay floats here: there is no range to search")
    overrides = []
    for tower in ("language", "projector", "vision"):
        overrides.append(f"{tower}.weights.bits={scheme.weights.bits}")
        overrides.append(f"{tower}.activations.bits={scheme.activations.bits}")
    notes = f"preset paper-w4a4 at {scheme.weights.bits} bits"
    return run(case, case.preset("paper-w4a4", overrides), notes)
