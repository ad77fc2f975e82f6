"""AutoRound: trained rounding, block by block, with the library's default effort.

200 steps of 8 samples for every layer of the language model, on our calibration samples. Where
activations have less than 16 bits they are rounded per token in the same training.
"""

from __future__ import annotations

from typing import Any

import torch
from compressor import outcome
from language_view import embedded_samples, language_view, padded
from rival import BATCH_SIZE, Case, Outcome
from surroundings import quantize_surroundings

from qvlm.schemes.layer import FLOAT_BITS

STEPS = 200
"""The library's default."""


def quantize(case: Case) -> Outcome:
    """Quantizes the case's model in place."""
    from auto_round import AutoRound

    quantize_surroundings(case)
    tokenizer = case.loaded.processor.tokenizer
    samples = padded(embedded_samples(case), tokenizer.pad_token_id)
    batches = [
        {
            key: torch.cat([s[key] for s in samples[start : start + BATCH_SIZE]])
            for key in samples[0]
        }
        for start in range(0, len(samples), BATCH_SIZE)
    ]
    view = language_view(case)
    handle = view.register_forward_pre_hook(_embeddings_only, with_kwargs=True)
    rounding = AutoRound(
        view,
        tokenizer=tokenizer,
        scheme=_scheme(case),
        dataset=batches,
        iters=STEPS,
        nsamples=len(samples),
        seqlen=samples[0]["input_ids"].shape[1],
        batch_size=BATCH_SIZE,
        seed=case.seed,
        amp=False,  # bfloat16 products are many times slower on this kind of processor
        enable_torch_compile=False,
        device_map="cpu",
    )
    rounding.quantize()
    handle.remove()
    return outcome(case, f"{STEPS} steps of {BATCH_SIZE} samples per layer, in float32")


def _scheme(case: Case) -> dict[str, Any]:
    weights, activations = case.scheme.weights, case.scheme.activations
    scheme: dict[str, Any] = {
        "bits": weights.bits,
        "group_size": weights.group or -1,
        "sym": weights.symmetric,
        "data_type": "int",
        "act_bits": activations.bits,
    }
    if activations.bits < FLOAT_BITS:
        scheme |= {
            "act_group_size": -1,  # one scale per token
            "act_sym": False,
            "act_data_type": "int",
            "act_dynamic": True,
        }
    return scheme


def _embeddings_only(_module: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The library wants token ids beside the embeddings, the model only one of the two."""
    return args, {key: value for key, value in kwargs.items() if key != "input_ids"}
