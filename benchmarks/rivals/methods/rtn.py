"""Rounding to nearest as llm-compressor's integer presets do it.

One symmetric scale per output row, symmetric activations per token: the presets W8A8, W4A4 and
W4A16 (the last with our groups), and the same at 6 bits, for which there is no preset.
"""

from __future__ import annotations

from dataclasses import replace

from compressor import compress, groups, outcome, token_arguments, weight_arguments
from rival import Case, Outcome
from surroundings import quantize_surroundings

from qvlm.schemes.layer import FLOAT_BITS


def quantize(case: Case) -> Outcome:
    """Quantizes the case's model in place."""
    from llmcompressor.modifiers.quantization import QuantizationModifier

    quantize_surroundings(case)
    scheme = case.scheme
    weights = weight_arguments(scheme)
    if scheme.activations.bits == FLOAT_BITS:
        arguments = groups(weights, None)
        compress(case, [QuantizationModifier(**arguments)], data=False)
        return outcome(case)
    weights |= {"strategy": "channel", "group_size": None, "symmetric": True}
    arguments = groups(weights, token_arguments(scheme, symmetric=True))
    compress(case, [QuantizationModifier(**arguments)], data=False)
    notes = "one symmetric weight scale per output row, symmetric activations"
    return replace(outcome(case, notes), group=None, scale_bits=16)
