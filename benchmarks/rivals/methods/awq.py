"""AWQ as the paper of Q-VLM built it: activation-aware weight scaling, static channel ranges.

The library scales and rounds the weights; it has no static per-channel activations, so these are
our min-max ranges on the scaled model. At w4a16 this is plain AWQ.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
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
    with _nothing_to_pin():
        compress(case, [AWQModifier(), QuantizationModifier(**arguments)], data=True)
    if scheme.activations.bits == FLOAT_BITS:
        return outcome(case)
    quantize_inputs(case, percentiles=(1.0,))
    return replace(outcome(case, f"min-max ranges; {NOTES}"), axis="channel")


@contextmanager
def _nothing_to_pin() -> Iterator[None]:
    """Lets AWQ run without an accelerator.

    The library pins its cache for copies to the device, and stops where there is none; no number
    depends on it.
    """
    from llmcompressor.pipelines.cache import IntermediatesCache

    if torch.accelerator.is_available():
        yield
        return
    pin = IntermediatesCache.pin_memory
    IntermediatesCache.pin_memory = lambda _cache, _batch, _names=None: None
    try:
        yield
    finally:
        IntermediatesCache.pin_memory = pin
