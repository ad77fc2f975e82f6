"""What a native checkpoint says about its quantized layers (see docs/format.md)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from qvlm.artefacts.layout import TowerName
from qvlm.schemes.layer import ActivationScheme, Frozen

FORMAT_VERSION = 1
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


class CheckpointIndex(Frozen):
    """Contents of `quantization.json`."""

    format: Literal["qvlm"] = "qvlm"
    format_version: int = FORMAT_VERSION
    qvlm_version: str
    architecture: str
    recipe: str
    layers: tuple[QuantizedLayer, ...]
    skipped: dict[str, str]
    """Linears left in floating point, with the reason."""


def weight_names(path: str) -> tuple[str, str, str]:
    """Tensor names of a linear's packed levels, scales and packed zero points."""
    return f"{path}.weight_packed", f"{path}.weight_scale", f"{path}.weight_zero_point"


def site_names(site: str) -> tuple[str, str]:
    """Tensor names of a static site's scale and zero point."""
    return f"sites.{site}.scale", f"sites.{site}.zero_point"
