"""What a native checkpoint says about its quantized layers (see docs/format.md)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from qvlm.artefacts.layout import TowerName
from qvlm.schemes.layer import ActivationScheme, Frozen

FORMAT_VERSION = 2
"""The newest; what has no quantized embeddings is written as version 1."""
INDEX_NAME = "quantization.json"
WEIGHTS_NAME = "qvlm.safetensors"
"""Not the usual `model.safetensors`: a loader that does not know packed weights must find none.

Transformers 5.23 only warns of an unknown `quant_method` and would fill in random weights.
"""
QUANT_METHOD = "qvlm"


class QuantizedLayer(Frozen):
    """One quantized linear."""

    path: str
    site: str
    tower: TowerName
    in_features: int = Field(ge=1)
    out_features: int = Field(ge=1)
    weight_bits: int = Field(ge=1, le=8)
    group_size: int = Field(ge=1)
    symmetric: bool
    activations: ActivationScheme
    percentile: float | None = None
    """Clipping percentile of a static input."""

    @property
    def is_static(self) -> bool:
        """True where the file holds a scale and a zero point for the input."""
        return self.activations.is_static


class QuantizedTable(Frozen):
    """The token embeddings."""

    path: str
    rows: int = Field(ge=1)
    width: int = Field(ge=1)
    bits: int = Field(ge=1, le=8)
    group_size: int = Field(ge=1)
    symmetric: bool
    dtype: Literal["float32", "bfloat16", "float16"]
    """Of the rows that are handed out: that of the model."""


class CheckpointIndex(Frozen):
    """Contents of `quantization.json`."""

    format: Literal["qvlm"] = "qvlm"
    format_version: int = 1
    qvlm_version: str
    architecture: str
    recipe: str
    layers: tuple[QuantizedLayer, ...]
    skipped: dict[str, str]
    """Linears left in floating point, with the reason."""
    embeddings: QuantizedTable | None = None
    """Since version 2; left out of the file where there are none."""

    @model_serializer(mode="wrap")
    def _without_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        if self.embeddings is None:
            del values["embeddings"]
        return values


def weight_names(path: str) -> tuple[str, str, str]:
    """Tensor names of a linear's packed levels, scales and packed zero points."""
    return f"{path}.weight_packed", f"{path}.weight_scale", f"{path}.weight_zero_point"


def site_names(site: str) -> tuple[str, str]:
    """Tensor names of a static site's scale and zero point."""
    return f"sites.{site}.scale", f"sites.{site}.zero_point"
