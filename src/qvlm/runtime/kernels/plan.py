"""How a kernel computes a linear, decided by its widths alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qvlm.schemes.layer import FLOAT_BITS, ActivationScheme

Arithmetic = Literal["bytes", "words", "reals"]
"""Products of 8-bit integers, of 16-bit integers, or of floats."""

STEPS = {"bytes": 4, "words": 2, "reals": 1}
"""Channels that one step of the kernel multiplies."""

WIDE_SUMS = ("amx", "avx512", "avx_vnni")
"""Kernels whose products of bytes are added in 32 bits."""

_WIDEST_BYTE = 127
_WIDEST_HALF = 2**15 - 1
_WIDEST_SUM = 2**31 - 1
_WIDEST_GROUP_SUM = 2**15 - 1


@dataclass(frozen=True)
class LinearShape:
    """What a quantized linear is, apart from its values.

    Attributes:
        out_features, in_features: of the weight.
        group_size: input channels that share a scale; divides `in_features`.
        weight_bits: 1 to 8.
        symmetric: whether every weight's zero point is 2^(weight_bits - 1).
        activations: how the input is rounded.
    """

    out_features: int
    in_features: int
    group_size: int
    weight_bits: int
    symmetric: bool
    activations: ActivationScheme

    @property
    def label(self) -> str:
        """Widths and grouping, for instance `W4A4 group 32`."""
        return f"W{self.weight_bits}A{self.activations.bits} group {self.group_size}"


@dataclass(frozen=True)
class Plan:
    """How the kernels run it.

    Attributes:
        arithmetic: kind of the products.
        stored_bits: width of a level in memory: 4, 6 or 8.
        run: steps whose sum of products fits a signed 16-bit integer (bytes only).
        middle: the zero point of symmetric weights.
    """

    arithmetic: Arithmetic
    stored_bits: int
    run: int
    middle: int


def plan_of(shape: LinearShape, kernel: str = "") -> Plan | str:
    """Returns how the kernels run a linear, or why they cannot.

    A weight enters as v - u. Where that fits a signed byte and two products fit 16 bits, products
    of bytes do, summed in 16 bits for `run` steps; else products of 16 bits, which are exact for
    every width. Their sums are 32 bits wide, which limits how many channels can share a scale.
    Some kernels add products of bytes in 32 bits at once.

    Args:
        shape: of the linear.
        kernel: name of the path; without one, the answer holds for those that add in 16 bits.
    """
    bits = shape.weight_bits
    middle = 2 ** (bits - 1)
    # A symmetric level can be 0 in a file from elsewhere, so v - u reaches -2^(bits - 1).
    largest = middle if shape.symmetric else 2**bits - 1
    stored = 4 if bits <= 4 else 6 if bits <= 6 else 8
    if shape.activations.bits == FLOAT_BITS:
        return Plan("reals", stored, 1, middle)
    top = 2**shape.activations.bits - 1
    if shape.group_size * top * largest > _WIDEST_SUM:
        return (
            f"sums over {shape.group_size} channels of {shape.label} can overflow 32 bits: "
            "use per_group weights"
        )
    if shape.activations.is_grouped and shape.group_size * largest > _WIDEST_GROUP_SUM:
        return (
            f"sums of {shape.group_size} weights of {shape.label} can overflow 16 bits: "
            "use smaller groups"
        )
    run = _WIDEST_HALF // (2 * top * largest)
    fits_byte = largest <= _WIDEST_BYTE or (shape.symmetric and bits == 8)
    if fits_byte and (run or kernel in WIDE_SUMS):
        return Plan("bytes", stored, max(run, 1), middle)
    return Plan("words", 8, 1, middle)
