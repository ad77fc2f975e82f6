"""SmoothQuant (strength 0.5) before rounding to nearest, activations per token."""

from __future__ import annotations

from compressor import compress, groups, outcome, token_arguments, weight_arguments
from rival import Case, NotApplicableError, Outcome
from surroundings import quantize_surroundings

from qvlm.schemes.layer import FLOAT_BITS


def quantize(case: Case) -> Outcome:
    """Quantizes the case's model in place."""
    from llmcompressor.modifiers.quantization import QuantizationModifier
    from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier

    scheme = case.scheme
    if scheme.activations.bits == FLOAT_BITS:
        raise NotApplicableError("it moves outliers out of activations, which stay floats here")
    quantize_surroundings(case)
    arguments = groups(weight_arguments(scheme), token_arguments(scheme))
    modifiers = [SmoothQuantModifier(smoothing_strength=0.5), QuantizationModifier(**arguments)]
    compress(case, modifiers, data=True)
    return outcome(case)
