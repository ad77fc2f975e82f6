"""qvlm's preset with percentiles searched jointly in entropy-guided blocks, rounding to nearest."""

from __future__ import annotations

from presets import run
from rival import Case, NotApplicableError, Outcome

from qvlm.schemes.layer import FLOAT_BITS
from qvlm.schemes.methods import method_recipe


def quantize(case: Case) -> Outcome:
    """Quantizes and saves by the changed preset."""
    if case.scheme.activations.bits == FLOAT_BITS:
        raise NotApplicableError("activations stay floats here: there is no range to search")
    recipe = method_recipe("layer-wise", case.recipe)
    partition = recipe.partition.model_copy(update={"proxy": "entropy"})
    joint = recipe.model_copy(update={"partition": partition, "name": "joint"})
    return run(case, joint, "nearest rounding")
