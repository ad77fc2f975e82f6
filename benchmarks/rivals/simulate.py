"""A saved qvlm model with the linears that the search uses: its numbers at the speed of floats.

The integer runtime defines the numbers and unpacks every weight at every call; the rivals are
simulated in floats, so qvlm's rows are as well.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import qvlm
from qvlm.models.replay import replace_module
from qvlm.numerics.affine import AffineGrid
from qvlm.numerics.folded import output_constant
from qvlm.numerics.packing import unpack_bits
from qvlm.numerics.weights import QuantizedWeight
from qvlm.runtime import LinearParameters, QuantizedLinear, SimulatedLinear


def load_simulated(directory: Path) -> Any:
    """Loads a run directory; every quantized linear is a `SimulatedLinear`."""
    model, _ = qvlm.load(directory, "simulated")  # by the definition, which packs plainly
    for path, module in list(model.named_modules()):
        if isinstance(module, QuantizedLinear):
            replace_module(model, path, SimulatedLinear(_parameters(module)))
    return model


def _parameters(linear: QuantizedLinear) -> LinearParameters:
    shape = linear.shape
    weight = QuantizedWeight(
        levels=unpack_bits(linear.packed, shape.weight_bits, linear.in_features),
        scale=linear.scale.float(),
        zero_point=linear.zero_point,
        bits=shape.weight_bits,
        group_size=shape.group_size,
        symmetric=shape.symmetric,
    )
    if linear.input_scale is None or linear.input_zero_point is None:
        return LinearParameters(weight, linear.constant, shape.activations, None)
    grid = AffineGrid(linear.input_scale, linear.input_zero_point, 2**shape.activations.bits)
    bias = linear.constant  # what the activations' zero points add is part of it
    if bias is not None:
        bias = bias - output_constant(weight, grid.zero_point, None)
    return LinearParameters(weight, bias, shape.activations, grid)
