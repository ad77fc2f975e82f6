"""SpinQuant's rotations R1, R2 and R4 (not trained) before rounding to nearest."""

from __future__ import annotations

import torch
from compressor import compress, groups, outcome, token_arguments, weight_arguments
from rival import Case, Outcome
from surroundings import quantize_surroundings

TYPE = "random-hadamard"
"""The library's plain Hadamard matrices exist for powers of two only."""
NOTES = (
    "R1, R2 merged, R4 at run time in float32; random Hadamard, not trained, as the library has it"
)


@torch.no_grad()
def rotate(case: Case) -> None:
    """Rotates the language model, and what the projector feeds it, in place."""
    from compressed_tensors.transform import (
        TransformArgs,
        TransformConfig,
        TransformScheme,
        apply_transform_config,
    )
    from llmcompressor.modifiers.transform import SpinQuantModifier

    modifier = SpinQuantModifier(
        rotations=["R1", "R2", "R4"], transform_type=TYPE, precision=torch.float32
    )
    compress(case, [modifier], data=False)
    # The modifier rotates what it finds in a language model: embeddings, but no image features.
    # Its matrices are drawn from a fixed seed, the first of them being R1.
    output = TransformArgs(targets=["linear_2"], location="weight_output")
    scheme = TransformScheme(type=TYPE, apply=[output])
    projector = case.model.model.multi_modal_projector
    apply_transform_config(projector, TransformConfig(config_groups={"R1": scheme}))


def quantize(case: Case) -> Outcome:
    """Quantizes the case's model in place."""
    from llmcompressor.modifiers.quantization import QuantizationModifier

    rotate(case)
    quantize_surroundings(case)
    scheme = case.scheme
    arguments = groups(weight_arguments(scheme), token_arguments(scheme))
    compress(case, [QuantizationModifier(**arguments)], data=False)
    return outcome(case, NOTES)
