"""Quantized linears: how they are built, simulated in floats and run in integers."""

from qvlm.runtime.linear import QuantizedLinear
from qvlm.runtime.parameters import LinearParameters, quantize_linear
from qvlm.runtime.simulated import SimulatedLinear

__all__ = ["LinearParameters", "QuantizedLinear", "SimulatedLinear", "quantize_linear"]
