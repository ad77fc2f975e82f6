"""SpinQuant's rotations R1, R2 and R4 (not trained) before GPTQ, as its paper rounds."""

from __future__ import annotations

from compressor import compress, groups, outcome, token_arguments, weight_arguments
from rival import Case, Outcome
from surroundings import quantize_surroundings

from methods.spinquant import NOTES, rotate


def quantize(case: Case) -> Outcome:
    """Quantizes the case's model in place."""
    from llmcompressor.modifiers.gptq import GPTQModifier

    rotate(case)
    quantize_surroundings(case)
    scheme = case.scheme
    arguments = groups(weight_arguments(scheme), token_arguments(scheme))
    compress(case, [GPTQModifier(**arguments)], data=True)
    return outcome(case, NOTES)
