"""AWQ as the paper of Q-VLM built it: activation-aware weight scaling, static channel ranges.

The library scales and rounds the weights; it has no static per-channel activations, so these are
our min-max ranges on the scaled model. At w4a16 this is plain AWQ.
"""

from __future__ import annotations

from dataclasses import replace

from compressor import compress, groups, outcome, weight_arguments
from rival import Case, Outcome
from static_inputs import NOTES, quantize_inputs
from surroundings import quantize_surroundings

from qvlm.schemes.layer import FLOAT_BITS


def quantize(case: Case) -> Outcome:
    """Quantizes the case's model in place."""
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.awq import AWQModifier

    quantize_surroundings(case)
    scheme = case.scheme
    arguments = groups(weight_arguments(scheme), None)
    compress(case, [AWQModifier(), QuantizationModifier(**arguments)], data=True)
    if scheme.activations.bits == FLOAT_BITS:
        return outcome(case)
    quantize_inputs(case, percentiles=(1.0,))
    return replace(outcome(case, f"min-max ranges; {NOTES}"), axis="channel")
