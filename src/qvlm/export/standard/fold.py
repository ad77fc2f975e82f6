"""Move ranges per channel into what makes a site's input, so that one scale is left."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from qvlm.artefacts import Site
from qvlm.artefacts.checkpoint import QuantizedLayer
from qvlm.errors import ExportError
from qvlm.export.standard.scheme import way_out
from qvlm.models.producers import Producer, ValueHeads, producer_of

_LAYER = re.compile(r"(.*?\.\d+)\.")


@dataclass(frozen=True)
class Fold:
    """A site's ranges, moved.

    Attributes:
        producer: what takes the factor.
        factor: per weight of a norm or row of a linear, float32.
        unit: scale of the site's input afterwards, a power of two.
    """

    producer: Producer
    factor: Tensor
    unit: float


def fold_site(model: nn.Module, layers: tuple[QuantizedLayer, ...], scale: Tensor) -> Fold:
    """Returns how a site's scales per channel become one.

    With x' = x unit / D_c, D_c (q - z) W_oc is unit (q - z) (D_c / unit) W_oc: the levels q and
    those of the stored D_c W_oc stay what they are.

    Args:
        model: may be without memory.
        layers: all that read the site.
        scale: D, [in] float32.

    Raises:
        ExportError: nothing before the site can take a factor per channel.
    """
    producer = find_producer(model, layers)
    # A power of two near the largest scale: it costs no digits, and no value grows beyond the
    # largest there was.
    unit = 2.0 ** round(math.log2(float(scale.max())))
    per_channel = unit / scale
    if producer.heads is None:
        return Fold(producer, per_channel, unit)
    shared = _shared(per_channel, producer.heads)
    if shared is None:
        raise ExportError(
            f"{_where(layers)}, which differs between query heads that share a value head: "
            "quantize with --set calibration.share_heads=true"
        )
    return Fold(producer, shared, unit)


def find_producer(model: nn.Module, layers: tuple[QuantizedLayer, ...]) -> Producer:
    """Returns what takes the ranges of a site.

    Args:
        model: may be without memory.
        layers: all that read the site.

    Raises:
        ExportError: nothing before the site can take a factor per channel.
    """
    site = _site(layers)
    match = _LAYER.match(site.linears[0])
    where, out = _where(layers), f"use {way_out(layers[0])}"
    if match is None:
        raise ExportError(f"{where}, and nothing before it takes a factor per channel: {out}")
    producer = producer_of(model, site, match[1])
    if isinstance(producer, str):
        raise ExportError(f"{where} that cannot move into what comes before it: {producer}; {out}")
    return producer


def _where(layers: tuple[QuantizedLayer, ...]) -> str:
    return f"the input of '{layers[0].path}' has a range per channel"


def _shared(factor: Tensor, heads: ValueHeads) -> Tensor | None:
    """The factor per row of the value projection, or None where the query heads disagree."""
    grouped = factor.view(heads.heads, heads.queries, heads.size)
    first = grouped[:, 0]
    return first.flatten() if torch.equal(grouped, first[:, None].expand_as(grouped)) else None


def _site(layers: tuple[QuantizedLayer, ...]) -> Site:
    first = layers[0]
    tower, index, role = first.site.split(".", 2)
    return Site(
        name=first.site,
        tower=tower,
        layer=int(index),
        role=role,
        linears=tuple(layer.path for layer in layers),
        channels=first.in_features,
    )
