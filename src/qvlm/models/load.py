"""Load an LVLM from the Hugging Face hub, a directory or this package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qvlm.artefacts.checkpoint import QUANT_METHOD
from qvlm.artefacts.exported import STANDARD
from qvlm.errors import ModelError, WeightsError
from qvlm.models.download_bar import Report
from qvlm.models.experts import split_experts
from qvlm.models.locate import locate
from qvlm.models.own import register_architectures
from qvlm.models.place import CPU
from qvlm.models.processor import read_processor
from qvlm.models.quiet import quiet_transformers
from qvlm.models.reader import first_dtype
from qvlm.models.registry import adapter_for
from qvlm.models.streamed import stream_model


@dataclass(frozen=True)
class LoadedModel:
    """A full-precision model with its processor.

    Attributes:
        model: in evaluation mode, in its stored dtype.
        processor: text and images -> model inputs.
        name: what the user asked for.
        directory: where its files are (of a model of the hub, in its cache).
    """

    model: nn.Module
    processor: Any
    name: str
    directory: Path


def load_model(
    name: str | Path,
    *,
    adapter: str = "auto",
    trust_remote_code: bool = False,
    compressed: Mapping[str, Any] | None = None,
    streamed: bool = False,
    device: torch.device = CPU,
    report: Report | None = None,
) -> LoadedModel:
    """Loads a model and its processor; fused experts become linears.

    Args:
        name: as `locate` takes it.
        adapter: `generic` lets models without an adapter in.
        trust_remote_code: run Python code that comes with the model.
        compressed: let in what compressed-tensors quantized, which Transformers then simulates by
            this `quantization_config`.
        streamed: leave the layers on disk until they are used, see `models.streamed`.
        device: where the model computes; streamed layers come there one at a time.
        report: told how far a download is, see `models.hub.fetch`.

    Raises:
        ModelError: it does not exist, is quantized already, is not an LVLM with an adapter, has no
            safetensors weights, or lacks weights that its architecture needs.
        WeightsError: a weight is NaN or infinite.
    """
    source = locate(name, code=trust_remote_code, report=report)
    register_architectures()
    known = adapter_for(_model_type(source, compressed is not None), adapter)
    if streamed:
        skeleton = _skeleton(name, source, trust_remote_code)
        model = stream_model(source, skeleton, known, device)
    else:
        model = _read_weights(source, trust_remote_code, compressed)
        split_experts(model)
        check_finite(model)
        model.to(device)
    processor = read_processor(source, trust_remote_code)
    return LoadedModel(model, processor, str(name), source)


def load_empty(
    name: str | Path, *, adapter: str = "auto", trust_remote_code: bool = False
) -> LoadedModel:
    """As `load_model`, but without memory for the parameters: for what depends on shapes alone."""
    source = locate(name, weights=False, code=trust_remote_code)
    register_architectures()
    adapter_for(_model_type(source, compressed=False), adapter)
    model = _skeleton(name, source, trust_remote_code)
    split_experts(model)
    model.tie_weights()
    processor = read_processor(source, trust_remote_code)
    return LoadedModel(model, processor, str(name), source)


def check_finite(model: nn.Module) -> None:
    """Raises WeightsError naming the first parameter that holds NaN or infinity."""
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise WeightsError(f"weight '{name}' holds NaN or infinite values: repair the model")


def _model_type(source: Path, compressed: bool) -> str:
    path = source / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        model_type = str(config["model_type"])
        quantized = dict(config.get("quantization_config") or {})
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"'{path}' is not a model's config: {error}") from error
    method = quantized.get("quant_method", "method unnamed")
    if quantized and not (compressed and method == STANDARD):
        known = {QUANT_METHOD: "", STANDARD: ""}.get(method, f" ({method})")
        raise ModelError(f"'{source}' is quantized already{known}: give the full-precision model")
    return model_type


def _read_weights(
    source: Path, trust_remote_code: bool, compressed: Mapping[str, Any] | None
) -> nn.Module:
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForImageTextToText

    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code)
        if compressed is not None:
            config.quantization_config = dict(compressed)
        # Missing weights are an error below; what else it logs here is about tensor parallelism.
        with quiet_transformers():
            model, info = AutoModelForImageTextToText.from_pretrained(
                source,
                config=config,
                dtype="auto",
                use_safetensors=True,
                output_loading_info=True,
                trust_remote_code=trust_remote_code,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"cannot load model '{source}': {_first_line(error)}") from error
    if info["missing_keys"]:
        missing = sorted(info["missing_keys"])
        raise ModelError(
            f"model '{source}' lacks {len(missing)} weights that its config.json asks for, "
            f"first '{missing[0]}'"
        )
    loaded: nn.Module = model.eval()
    return loaded


def _skeleton(name: str | Path, source: Path, trust_remote_code: bool) -> Any:
    """The model without memory for its parameters, in its stored type."""
    from accelerate import init_empty_weights
    from transformers import AutoConfig, AutoModelForImageTextToText

    try:
        config = AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code)
        dtype = config.dtype or first_dtype(locate(name, code=trust_remote_code))
        with quiet_transformers(), init_empty_weights(include_buffers=False):
            return AutoModelForImageTextToText.from_config(
                config, dtype=dtype, trust_remote_code=trust_remote_code
            )
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"cannot load model '{source}': {_first_line(error)}") from error


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
