"""How one linear layer is quantized: its weights and the activation that it reads."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

FLOAT_BITS = 16
"""The bit width that means "left in floating point"."""

ActivationGranularity = Literal[
    "per_channel", "per_tensor", "per_token", "per_group", "per_group_rotated"
]

SUPPORTED_BITS = (2, 3, 4, 5, 6, 7, 8, FLOAT_BITS)


class Frozen(BaseModel):
    """A value: immutable, comparable, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _check_bits(bits: int) -> int:
    if bits not in SUPPORTED_BITS:
        raise ValueError(f"{bits} bits are not supported: use 2 to 8, or 16 for floating point")
    return bits


class WeightScheme(Frozen):
    """Uniform affine weights on an integer grid of 2^bits levels.

    Shapes: weight [out, in] -> scale [out, groups], where groups = 1 (`per_channel`)
    or in / group_size (`per_group`).
    """

    bits: int = 4
    granularity: Literal["per_channel", "per_group"] = "per_group"
    group_size: int | None = 32
    symmetric: bool = False
    clipping: Literal["minmax", "lp"] = "minmax"
    """Range of a group: its extremes, or the shrink of them with the least lp error."""
    rounding: Literal["nearest", "gptq"] = "nearest"
    """To the nearest level, or so that later columns make up for the errors of earlier ones."""

    _bits = field_validator("bits")(_check_bits)

    @model_validator(mode="after")
    def _group_size_belongs_to_groups(self) -> WeightScheme:
        if self.granularity == "per_group" and (self.group_size is None or self.group_size < 1):
            raise ValueError("granularity per_group needs a positive group_size")
        return self

    @property
    def group(self) -> int | None:
        """Channels that share a scale, or None for the whole row."""
        return self.group_size if self.granularity == "per_group" else None


class ActivationScheme(Frozen):
    """Uniform affine activations on an integer grid of 2^bits levels.

    Shapes: x [tokens, channels] -> scale [channels] (`per_channel`, static),
    [1] (`per_tensor`, static), [tokens, 1] (`per_token`, computed at run time) or
    [tokens, groups] (`per_group`, computed at run time), of the weight's groups;
    `per_group_rotated` spreads each group by a Hadamard transform first.
    """

    bits: int = 4
    granularity: ActivationGranularity = "per_channel"
    symmetric: bool = False

    _bits = field_validator("bits")(_check_bits)

    @property
    def is_static(self) -> bool:
        """True where the range is fixed by calibration, so that it can be searched."""
        return self.bits < FLOAT_BITS and self.granularity in ("per_channel", "per_tensor")

    @property
    def is_grouped(self) -> bool:
        """True where every token has a range for each group of the weight."""
        return self.bits < FLOAT_BITS and self.granularity in ("per_group", "per_group_rotated")

    @property
    def is_rotated(self) -> bool:
        """True where each group is transformed before it is rounded, and the weight to match."""
        return self.bits < FLOAT_BITS and self.granularity == "per_group_rotated"


class LayerScheme(Frozen):
    """Scheme of a linear layer."""

    weights: WeightScheme = WeightScheme()
    activations: ActivationScheme = ActivationScheme()

    @model_validator(mode="after")
    def _integers_need_integers(self) -> LayerScheme:
        if self.weights.bits == FLOAT_BITS:
            raise ValueError(
                "weights of 16 bits leave nothing to quantize: name the layers in `exclude` instead"
            )
        if self.activations.is_grouped and self.weights.group is None:
            raise ValueError(
                "activations per_group need weights per_group, whose groups they share"
            )
        return self

    @property
    def label(self) -> str:
        """Short name as in the papers, for instance `W4A4`."""
        return f"W{self.weights.bits}A{self.activations.bits}"
