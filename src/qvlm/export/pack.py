"""Turn a plan into packed tensors: final quantization of every linear."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from qvlm import __version__
from qvlm.artefacts import ModelMap, Site
from qvlm.artefacts.checkpoint import (
    CheckpointIndex,
    QuantizedLayer,
    site_names,
    weight_names,
)
from qvlm.artefacts.result import LayerBits
from qvlm.numerics.packing import pack_bits
from qvlm.runtime import LinearParameters


@dataclass(frozen=True)
class Packed:
    """Tensors of the quantized layers with their index and realised bits."""

    tensors: dict[str, torch.Tensor]
    index: CheckpointIndex
    bits: tuple[LayerBits, ...]

    @property
    def quantized_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())

    @property
    def float32_bytes(self) -> int:
        """Bytes of the same layers' weights in fp32."""
        return sum(4 * layer.in_features * layer.out_features for layer in self.index.layers)


def pack(
    model_map: ModelMap,
    recipe_name: str,
    percentiles: Mapping[str, float],
    parameters_of: Callable[[Site], Mapping[str, LinearParameters]],
) -> Packed:
    """Quantizes and packs every linear of the map, site by site.

    Args:
        model_map: what is quantized.
        recipe_name: recorded in the index.
        percentiles: static site -> chosen percentile.
        parameters_of: site -> its linears' final parameters.
    """
    tensors: dict[str, torch.Tensor] = {}
    layers: list[QuantizedLayer] = []
    bits: list[LayerBits] = []
    for site in model_map.sites:
        parameters = parameters_of(site)
        input_bytes = _add_site(tensors, site, next(iter(parameters.values())))
        for path, linear in parameters.items():
            weight_bytes = _add_linear(tensors, path, linear)
            layer = _layer(path, site, linear, percentiles.get(site.name))
            layers.append(layer)
            share = input_bytes / len(parameters)
            bits.append(_bits(layer, weight_bytes + share))
    index = CheckpointIndex(
        qvlm_version=__version__,
        architecture=model_map.architecture,
        recipe=recipe_name,
        layers=tuple(layers),
        skipped=model_map.skipped,
    )
    return Packed(tensors, index, tuple(bits))


def _add_site(tensors: dict[str, torch.Tensor], site: Site, first: LinearParameters) -> int:
    if first.grid is None:
        return 0
    scale_name, zero_point_name = site_names(site.name)
    tensors[scale_name] = first.grid.scale.float()
    tensors[zero_point_name] = first.grid.zero_point.to(torch.uint8)
    return tensors[scale_name].nbytes + tensors[zero_point_name].nbytes


def _add_linear(tensors: dict[str, torch.Tensor], path: str, linear: LinearParameters) -> int:
    weight = linear.weight
    levels, scale, zero_point = weight_names(path)
    added = {levels: pack_bits(weight.levels, weight.bits), scale: weight.scale.bfloat16()}
    if not weight.symmetric:
        added[zero_point] = pack_bits(weight.zero_point, weight.bits)
    tensors.update(added)
    return sum(tensor.nbytes for tensor in added.values())


def _layer(
    path: str, site: Site, linear: LinearParameters, percentile: float | None
) -> QuantizedLayer:
    out_features, in_features = linear.weight.levels.shape
    return QuantizedLayer(
        path=path,
        site=site.name,
        tower=site.tower,
        in_features=in_features,
        out_features=out_features,
        weight_bits=linear.weight.bits,
        group_size=linear.weight.group_size,
        symmetric=linear.weight.symmetric,
        activations=linear.activations,
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
