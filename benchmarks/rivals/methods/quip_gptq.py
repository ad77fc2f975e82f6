"""QuIP's input rotations before GPTQ, activations per token."""

from __future__ import annotations

from compressor import compress, groups, outcome, token_arguments, weight_arguments
from rival import Case, Outcome
from surroundings import quantize_surroundings

from methods.quip import NOTES, rotation


def quantize(case: Case) -> Outcome:
    """Quantizes the case's model in place."""
    from llmcompressor.modifiers.gptq import GPTQModifier

    quantize_surroundings(case)
    scheme = case.scheme
    arguments = groups(weight_arguments(scheme), token_arguments(scheme))
    compress(case, [rotation(), GPTQModifier(**arguments)], data=True)
    return outcome(case, NOTES)
