"""What a checkpoint says of its packed layers, and where their tensors are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from qvlm import __version__
from qvlm.artefacts import ModelMap, Site, Tower
from qvlm.artefacts.checkpoint import (
    CheckpointIndex,
    QuantizedLayer,
    QuantizedTable,
    site_names,
    weight_names,
)
from qvlm.artefacts.joined import Source
from qvlm.artefacts.result import LayerBits
from qvlm.schemes import LayerScheme

Layer = Callable[[Tower, int], Mapping[str, Source]]
"""(tower, index) -> the packed tensors of a layer."""


@dataclass(frozen=True)
class PackedTable:
    """The token embeddings: what the index says of them, and their tensors."""

    entry: QuantizedTable
    tensors: Mapping[str, Source]


@dataclass(frozen=True)
class Packed:
    """Tensors of the quantized layers and embeddings with their index and realised bits."""

    tensors: dict[str, Source]
    index: CheckpointIndex
    bits: tuple[LayerBits, ...]

    @property
    def quantized_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    @property
    def float32_bytes(self) -> int:
        """Bytes of the same weights in fp32."""
        table = self.index.embeddings
        rows = 0 if table is None else 4 * table.rows * table.width
        return rows + sum(4 * layer.in_features * layer.out_features for layer in self.index.layers)


def pack(
    model_map: ModelMap,
    recipe_name: str,
    percentiles: Mapping[str, float],
    scheme_of: Callable[[Site], tuple[LayerScheme, int]],
    packed_layer: Layer,
    table: PackedTable | None = None,
) -> Packed:
    """Gathers the packed tensors of every layer and describes them.

    Args:
        model_map: what is quantized.
        recipe_name: recorded in the index.
        percentiles: static site -> chosen percentile.
        scheme_of: site -> its scheme and group size.
        packed_layer: finds the tensors of a layer.
        table: the token embeddings, where they are quantized.
    """
    tensors: dict[str, Source] = {} if table is None else dict(table.tensors)
    layers: list[QuantizedLayer] = []
    bits: list[LayerBits] = []
    for tower in model_map.quantized_towers:
        for index in range(len(tower.layers)):
            tensors |= packed_layer(tower, index)
    for site in model_map.sites:
        scheme, group_size = scheme_of(site)
        input_bytes = _bytes(tensors, site_names(site.name))
        for path in site.linears:
            layer = _layer(path, site, scheme, group_size, tensors, percentiles.get(site.name))
            weight_bytes = _bytes(tensors, weight_names(path))
            layers.append(layer)
            bits.append(_bits(layer, weight_bytes + input_bytes / len(site.linears)))
    named = CheckpointIndex(
        qvlm_version=__version__,
        architecture=model_map.architecture,
        recipe=recipe_name,
        layers=tuple(layers),
        skipped=model_map.skipped,
        format_version=1 if table is None else 2,
        embeddings=None if table is None else table.entry,
    )
    return Packed(tensors, named, tuple(bits))


def _bytes(tensors: Mapping[str, Source], names: tuple[str, ...]) -> int:
    return sum(tensors[name].nbytes for name in _there(tensors, names))


def _there(tensors: Mapping[str, Source], names: tuple[str, ...]) -> Iterator[str]:
    """Those of a layer's tensors that it needs: symmetric weights have no zero points."""
    return (name for name in names if name in tensors)


def _layer(
    path: str,
    site: Site,
    scheme: LayerScheme,
    group_size: int,
    tensors: Mapping[str, Source],
    percentile: float | None,
) -> QuantizedLayer:
    return QuantizedLayer(
        path=path,
        site=site.name,
        tower=site.tower,
        in_features=site.channels,
        out_features=tensors[weight_names(path)[0]].shape[0],
        weight_bits=scheme.weights.bits,
        group_size=group_size,
        symmetric=scheme.weights.symmetric,
        activations=scheme.activations,
        percentile=percentile,
    )


def _bits(layer: QuantizedLayer, stored_bytes: float) -> LayerBits:
    return LayerBits(
        path=layer.path,
        weight_bits=layer.weight_bits,
        activation_bits=layer.activations.bits,
        activation_granularity=layer.activations.granularity,
        percentile=layer.percentile,
        bits_per_weight=8 * stored_bytes / (layer.in_features * layer.out_features),
    )
