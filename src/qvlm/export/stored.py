"""One quantized linear as a checkpoint of either format stores it."""

from __future__ import annotations

from dataclasses import dataclass

from qvlm.artefacts.checkpoint import QuantizedLayer, QuantizedTable
from qvlm.schemes.layer import ActivationScheme

NATIVE = "qvlm"


@dataclass(frozen=True)
class StoredLayer:
    """What was asked of a linear, and how many bits its tensors take.

    Attributes:
        path: in Transformers 5.
        tower: `vision`, `language_model`, or whatever holds it.
        in_features, out_features: its size.
        weight_bits, group_size, symmetric: of the weights; the group is `in_features` for a scale
            per row.
        activations: of the input; `per_channel` only in the native format.
        form: `qvlm`, `int-quantized` or `pack-quantized`.
        stored_bytes: of levels, scales, zero points, and its share of the input's.
    """

    path: str
    tower: str
    in_features: int
    out_features: int
    weight_bits: int
    group_size: int
    symmetric: bool
    activations: ActivationScheme
    form: str
    stored_bytes: float

    @property
    def bits_per_weight(self) -> float:
        """What it really takes."""
        return 8 * self.stored_bytes / (self.in_features * self.out_features)

    @property
    def label(self) -> str:
        """Short name of what was asked, for instance `W4A4 per token`."""
        activations = self.activations
        name = f"W{self.weight_bits}A{activations.bits}"
        if self.group_size != self.in_features:
            name += f" g{self.group_size}"
        if not self.symmetric:
            name += " zero points"
        if activations.bits == 16:
            return name
        kind = activations.granularity.replace("_", " ")
        return f"{name}, {kind}{'' if activations.symmetric else ' with zero point'}"


def predicted_bytes(layer: StoredLayer, scale_bytes: int) -> float:
    """Bytes that a linear's levels, scales and zero points must take; the input's are left out.

    Args:
        layer: of either format.
        scale_bytes: of one scale.
    """
    unit = {NATIVE: 1, "int-quantized": 1}.get(layer.form, 4)
    row = -(-layer.in_features * layer.weight_bits // (8 * unit)) * unit
    groups = layer.in_features // layer.group_size
    zero_points = 0 if layer.symmetric else -(-groups * layer.weight_bits // 8)
    return layer.out_features * (row + groups * scale_bytes + zero_points)


def table_bytes(table: QuantizedTable) -> int:
    """Bytes that the levels, scales and zero points of a table must take."""
    groups = table.width // table.group_size
    zero_points = 0 if table.symmetric else -(-groups * table.bits // 8)
    return table.rows * (-(-table.width * table.bits // 8) + 2 * groups + zero_points)


def from_index(layer: QuantizedLayer, stored_bytes: float) -> StoredLayer:
    """Returns a layer of a native index."""
    return StoredLayer(
        path=layer.path,
        tower=layer.tower,
        in_features=layer.in_features,
        out_features=layer.out_features,
        weight_bits=layer.weight_bits,
        group_size=layer.group_size,
        symmetric=layer.symmetric,
        activations=layer.activations,
        form=NATIVE,
        stored_bytes=stored_bytes,
    )
