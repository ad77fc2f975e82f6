"""llm-compressor on the language model: one call, and the weight grids that it is asked for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from language_view import embedded_samples, language_view
from rival import Case, Outcome
from surroundings import WHERE

from qvlm.schemes import LayerScheme
from qvlm.schemes.layer import FLOAT_BITS


def weight_arguments(scheme: LayerScheme) -> dict[str, Any]:
    """llm-compressor's `weights` for the width's weight grid."""
    weights = scheme.weights
    group = weights.group
    return {
        "num_bits": weights.bits,
        "type": "int",
        "symmetric": weights.symmetric,
        "strategy": "channel" if group is None else "group",
        "group_size": group,
        "dynamic": False,
    }


def token_arguments(scheme: LayerScheme, *, symmetric: bool = False) -> dict[str, Any] | None:
    """llm-compressor's `input_activations`: per token, computed at run time; None for floats."""
    if scheme.activations.bits == FLOAT_BITS:
        return None
    return {
        "num_bits": scheme.activations.bits,
        "type": "int",
        "symmetric": symmetric,
        "strategy": "token",
        "dynamic": True,
    }


def groups(weights: dict[str, Any], activations: dict[str, Any] | None) -> dict[str, Any]:
    """Keyword arguments of a quantizing modifier: all linears but the head."""
    scheme = {"targets": ["Linear"], "weights": weights, "input_activations": activations}
    return {"config_groups": {"group_0": scheme}, "ignore": ["lm_head"]}


def compress(case: Case, modifiers: Sequence[Any], *, data: bool) -> None:
    """Applies modifiers to the language model in place.

    Args:
        case: vision tower and projector are as they will run.
        modifiers: llm-compressor's, in order.
        data: whether they look at the calibration samples; these come one at a time, unpadded.
    """
    from llmcompressor import oneshot
    from loguru import logger

    logger.disable("llmcompressor")
    logging.getLogger("compressed_tensors").setLevel(logging.ERROR)
    view = language_view(case)
    arguments: dict[str, Any] = {"pipeline": "datafree"}
    if data:
        samples = embedded_samples(case)
        for sample in samples:
            del sample["input_ids"]
        loader = torch.utils.data.DataLoader(samples, batch_size=None, shuffle=False, num_workers=0)
        arguments = {
            "pipeline": "sequential",
            "dataset": loader,
            "num_calibration_samples": len(samples),
            "sequential_targets": ["LlamaDecoderLayer"],
        }
    torch.manual_seed(case.seed)
    oneshot(
        model=view,
        processor=case.loaded.processor.tokenizer,
        recipe=list(modifiers),
        **arguments,
    )


def outcome(case: Case, notes: str = "") -> Outcome:
    """What a model on the width's weight grid with per-token activations is."""
    scheme = case.scheme
    floats = scheme.activations.bits == FLOAT_BITS
    return Outcome(
        weight_bits=scheme.weights.bits,
        activation_bits=scheme.activations.bits,
        group=scheme.weights.group,
        scale_bits=16 if scheme.weights.symmetric else 16 + scheme.weights.bits,
        axis=None if floats else "token",
        where=WHERE,
        notes=notes,
    )
