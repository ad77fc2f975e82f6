"""QuIP's input rotations before rounding to nearest, activations per token."""

from __future__ import annotations

from typing import Any

from compressor import compress, groups, outcome, token_arguments, weight_arguments
from rival import Case, Outcome
from surroundings import quantize_surroundings

NOTES = "random Hadamard rotation of every linear's input, at run time in float32"


def rotation() -> Any:
    """The library's modifier: input rotations alone, as it recommends."""
    import torch
    from llmcompressor.modifiers.transform.quip import QuIPModifier

    # Its default precision is float64, and that at every forward.
    return QuIPModifier(
        rotations=["v"], transform_type="random-hadamard", precision=torch.float32, ignore="lm_head"
    )


def quantize(case: Case) -> Outcome:
    """Quantizes the case's model in place."""
    from llmcompressor.modifiers.quantization import QuantizationModifier

    quantize_surroundings(case)
    scheme = case.scheme
    arguments = groups(weight_arguments(scheme), token_arguments(scheme))
    compress(case, [rotation(), QuantizationModifier(**arguments)], data=False)
    return outcome(case, NOTES)
