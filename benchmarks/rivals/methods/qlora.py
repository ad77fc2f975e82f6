"""QLoRA as the paper of Q-VLM built it: NF4 weights, static channel ranges chosen layer by layer.

The weights go through bitsandbytes' CPU backend to NF4 in blocks of 64 and back. Every site takes
the percentile whose lp error (p = 2.4) on its own input is least, whatever comes after it.
"""

from __future__ import annotations

import torch
from rival import Case, NotApplicableError, Outcome
from static_inputs import NOTES, quantize_inputs
from surroundings import WHERE, quantize_surroundings

from qvlm.schemes.layer import FLOAT_BITS

BLOCK = 64
"""bitsandbytes' default: weights that share a float32 scale."""


@torch.no_grad()
def quantize(case: Case) -> Outcome:
    """Quantizes the case's model in place."""
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    scheme = case.scheme
    if scheme.weights.bits != 4:
        raise NotApplicableError("NF4 has four bits")
    paths = [path for site in case.language.sites for path in site.linears]
    quantize_surroundings(case)
    for path in paths:
        weight = case.model.get_submodule(path).weight
        stored, state = quantize_4bit(weight.data, blocksize=BLOCK, quant_type="nf4")
        weight.data = dequantize_4bit(stored, state).to(weight.dtype)
    notes = f"NF4 in blocks of {BLOCK}"
    floats = scheme.activations.bits == FLOAT_BITS
    if not floats:
        quantize_inputs(case, percentiles=case.recipe.search.percentiles)
        notes += f"; ranges by the least lp error (p = 2.4) of each site; {NOTES}"
    return Outcome(
        weight_bits=4,
        activation_bits=scheme.activations.bits,
        group=BLOCK,
        scale_bits=32,
        axis=None if floats else "channel",
        where=WHERE,
        notes=notes,
    )
