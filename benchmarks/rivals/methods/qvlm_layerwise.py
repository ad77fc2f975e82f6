"""qvlm's preset with percentiles searched layer by layer and rounding to nearest."""

from __future__ import annotations

from presets import run
from rival import Case, NotApplicableError, Outcome

from qvlm.schemes.layer import FLOAT_BITS
from qvlm.schemes.methods import method_recipe


def quantize(case: Case) -> Outcome:
    """Quantizes and saves by the changed preset."""
    if case.scheme.activations.bits == FLOAT_BITS:
        raise NotApplicableError("activations stay floats here: there is no range to search")
    return run(case, method_recipe("layer-wise", case.recipe), "nearest rounding")
