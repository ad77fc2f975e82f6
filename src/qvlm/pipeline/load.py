"""Load whatever the user names: a quantized run directory or a full-precision model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast, get_args

from qvlm.errors import QvlmError, nearest
from qvlm.export.standard.read import is_standard, read_standard
from qvlm.models import load_model
from qvlm.models.download_bar import Report
from qvlm.models.experts import split_experts
from qvlm.models.growing_cache import let_cache_grow
from qvlm.models.locate import locate
from qvlm.models.own import register_architectures
from qvlm.models.processor import read_processor
from qvlm.models.quiet import no_bars
from qvlm.runtime.definition import Arithmetic
from qvlm.runtime.kernels import gpu
from qvlm.runtime.kernels.choose import Choice
from qvlm.runtime.load import is_quantized, load_quantized

THROUGH_TRANSFORMERS = Choice("Transformers", "compressed-tensors, simulated in floating point")


def load(
    model: str | Path,
    arithmetic: Arithmetic | str = "integer",
    *,
    allow_fallback: bool = False,
    device: str = "cpu",
    adapter: str = "auto",
    trust_remote_code: bool = False,
    report: Report | None = None,
) -> tuple[Any, Any]:
    """Loads a model and its processor; `model.generate` works as in Transformers.

    Args:
        model: a run of `quantize`; a compressed-tensors checkpoint, which Transformers runs,
            simulated; or any model that `quantize` takes, in full precision. A directory, or a
            name on the hub.
        arithmetic: of a quantized model: `integer`, or `simulated` for the same numbers from
            float products.
        allow_fallback: run layers that no kernel supports by the slow PyTorch definition, instead
            of raising. Which kernel a layer got is in the model's `qvlm_kernels`.
        device: `cpu`, or `cuda` for an NVIDIA GPU, where Triton's kernels run; put the inputs
            there too.
        adapter: of a full-precision model: `generic` lets models without an adapter in.
        trust_remote_code: run Python code that comes with the model.
        report: told of a download how many MiB of how many are done; None shows the hub's bars.

    Raises:
        QvlmError: it does not exist or is damaged.
    """
    if arithmetic not in get_args(Arithmetic):
        known = get_args(Arithmetic)
        raise QvlmError(
            f"arithmetic '{arithmetic}' is unknown{nearest(arithmetic, known)}: "
            f"use {' or '.join(known)}"
        )
    place = gpu.usable_device(device)
    directory = locate(model, code=trust_remote_code, report=report)
    register_architectures()
    if is_quantized(directory):
        quantized = load_quantized(
            directory,
            cast(Arithmetic, arithmetic),
            allow_fallback=allow_fallback,
            device=place,
            prepare=split_experts,
        )
        if arithmetic == "integer":
            let_cache_grow(quantized)
        return quantized, read_processor(directory)
    standard = read_standard(directory) if is_standard(directory) else None
    loaded = load_model(
        directory,
        adapter=adapter,
        trust_remote_code=trust_remote_code,
        compressed=None if standard is None else standard.in_memory,
    )
    if standard is not None:
        recorded: Any = loaded.model
        # By itself it would wait for a forward of the whole model, but `generate` begins with the
        # vision tower.
        with no_bars():
            recorded.hf_quantizer.compressor.decompress_model(recorded)
        recorded.qvlm_kernels = {layer.path: THROUGH_TRANSFORMERS for layer in standard.layers}
    return loaded.model.to(place), loaded.processor
