"""Quantized linears: how they are built, simulated in floats and run in integers."""

from qvlm.runtime.integer import IntegerLinear
from qvlm.runtime.parameters import LinearParameters, quantize_linear
from qvlm.runtime.simulated import SimulatedLinear

__all__ = ["IntegerLinear", "LinearParameters", "SimulatedLinear", "quantize_linear"]
