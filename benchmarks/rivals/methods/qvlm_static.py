"""qvlm's preset without search and second-order rounding: static min-max ranges."""

from __future__ import annotations

from presets import run
from rival import Case, NotApplicableError, Outcome

from qvlm.schemes.layer import FLOAT_BITS
from qvlm.schemes.methods import method_recipe


def quantize(case: Case) -> Outcome:
    """Quantizes and saves by the changed preset."""
    if case.scheme.activations.bits == FLOAT_BITS:
        raise NotApplicableError("activations stay floats here: see RTN per token")
    return run(case, method_recipe("RTN static", case.recipe), "min-max ranges, nearest rounding")
