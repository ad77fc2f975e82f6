"""GPTQ with the library's defaults, activations per token."""

from __future__ import annotations

from compressor import compress, groups, outcome, token_arguments, weight_arguments
from rival import Case, Outcome
from surroundings import quantize_surroundings


def quantize(case: Case) -> Outcome:
    """Quantizes the case's model in place."""
    from llmcompressor.modifiers.gptq import GPTQModifier

    quantize_surroundings(case)
    scheme = case.scheme
    arguments = groups(weight_arguments(scheme), token_arguments(scheme))
    compress(case, [GPTQModifier(**arguments)], data=True)
    return outcome(case)
