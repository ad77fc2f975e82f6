"""A native run's tensors as those of a compressed-tensors checkpoint."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from qvlm.artefacts.checkpoint import CheckpointIndex, site_names
from qvlm.errors import ExportError
from qvlm.export.standard.experts import Parts, split_path
from qvlm.export.standard.fold import Fold, fold_site
from qvlm.export.standard.linear import SignedLinear, signed, tensors_of
from qvlm.export.standard.sayable import folded_sites
from qvlm.export.standard.scheme import scheme_of
from qvlm.runtime.load import take_parameters

Tensors = dict[str, Tensor]


def convert(
    model: nn.Module, index: CheckpointIndex, tensors: Tensors, parts: Parts
) -> tuple[Tensors, Folds]:
    """Returns tensors under their names in memory, and site -> what took its ranges.

    Levels stay what they are; only scales, norms and biases change.

    Args:
        model: of the checkpoint, may be without memory.
        index: of the native run.
        tensors: of the native run; quantized layers are taken out.
        parts: of fused experts, which become a linear per projection.

    Raises:
        ExportError: the schema cannot say what the run holds.
        ArtefactError: a tensor is missing or damaged.
    """
    folds = _folds(model, index, tensors)
    linears: dict[str, SignedLinear] = {}
    dtypes: dict[str, torch.dtype] = {}
    dtype = _model_dtype(tensors)
    for layer in index.layers:
        fold = folds.get(layer.site)
        bias = tensors.get(f"{layer.path}.bias")
        dtypes[layer.path] = dtype if bias is None else bias.dtype
        unit = None if fold is None else fold.unit
        linears[layer.path] = signed(take_parameters(tensors, layer), unit)
    for site in {layer.site for layer in index.layers}:
        for name in site_names(site):
            tensors.pop(name, None)
    for fold in folds.values():
        _apply(fold, linears, tensors)
    forms = {layer.path: scheme_of(layer)["format"] for layer in index.layers}
    for path, linear in linears.items():
        paths = split_path(path, parts)
        for name, part in zip(paths, linear.row_parts(len(paths)), strict=True):
            for leaf, tensor in tensors_of(part, forms[path], dtypes[path]).items():
                tensors[f"{name}.{leaf}"] = tensor
    return tensors, folds


Folds = Mapping[str, Fold]


def _folds(model: nn.Module, index: CheckpointIndex, tensors: Tensors) -> dict[str, Fold]:
    """Of every static site with a range per channel."""
    return {
        site: fold_site(model, layers, tensors[site_names(site)[0]])
        for site, layers in folded_sites(index).items()
    }


def _apply(fold: Fold, linears: dict[str, SignedLinear], tensors: Tensors) -> None:
    path, factor = fold.producer.path, fold.factor
    if path in linears:
        linears[path] = linears[path].scaled_rows(factor)
        return
    for leaf in ("weight", "bias"):
        name = f"{path}.{leaf}"
        if name in tensors:
            shaped = factor[:, None] if tensors[name].ndim == 2 else factor
            tensors[name] = (tensors[name].float() * shaped).to(tensors[name].dtype)


def _model_dtype(tensors: Tensors) -> torch.dtype:
    """Of what stayed in floating point, by far the most of it embeddings."""
    floats = [tensor for tensor in tensors.values() if tensor.is_floating_point()]
    if not floats:
        raise ExportError("the checkpoint holds no tensor in floating point")
    return max(floats, key=lambda tensor: tensor.numel()).dtype
