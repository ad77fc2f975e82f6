"""Largest activations per channel, image tokens and text tokens apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import nn

from qvlm.artefacts import ModelMap, Site
from qvlm.artefacts.analysis import ChannelRange
from qvlm.artefacts.calibration import IMAGE, PADDING, TEXT, Batch
from qvlm.models.positions import at_site
from qvlm.observe.hooks import watch_inputs

OUTLIER = 10.0
"""A channel is an outlier above this many times the median channel."""
TOP = 5
"""Channels that are named."""

Tokens = Literal["image", "text"]


@torch.no_grad()
def channel_ranges(
    model: nn.Module,
    model_map: ModelMap,
    batches: Sequence[Batch],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[ChannelRange, ...]:
    """Returns max |x| over the tokens of each kind, per site, as figures over its channels.

    Everything that the vision tower and the projector read is of the image. One forward.
    """
    sites = {site.name: site for site in model_map.sites}
    largest: dict[tuple[str, Tokens], torch.Tensor] = {}
    counts: dict[tuple[str, Tokens], int] = {}
    for done, batch in enumerate(batches, start=1):

        def see(name: str, x: torch.Tensor, modality: torch.Tensor = batch.modality) -> None:
            for tokens, rows in _by_kind(model, sites[name], x, modality):
                if len(rows):
                    peak = rows.abs().amax(dim=0)
                    key = (name, tokens)
                    largest[key] = torch.maximum(largest.get(key, peak), peak)
                    counts[key] = counts.get(key, 0) + len(rows)

        with watch_inputs(model, model_map, batch, see):
            model(**batch.inputs, use_cache=False)
        progress(done, len(batches))
    return tuple(
        _figures(site, tokens, largest[site.name, tokens], counts[site.name, tokens])
        for site in model_map.sites
        for tokens in ("image", "text")
        if (site.name, tokens) in largest
    )


def _by_kind(
    model: nn.Module, site: Site, x: torch.Tensor, modality: torch.Tensor
) -> list[tuple[Tokens, torch.Tensor]]:
    if not site.reads_tokens:
        return [("image", x)]
    kinds = at_site(model, site, modality)
    kinds = kinds[kinds != PADDING]
    return [("image", x[kinds == IMAGE]), ("text", x[kinds == TEXT])]


def _figures(site: Site, tokens: Tokens, peaks: torch.Tensor, count: int) -> ChannelRange:
    median = float(peaks.median())
    values, channels = peaks.topk(min(TOP, len(peaks)))
    return ChannelRange(
        site=site.name,
        tower=site.tower,
        layer=site.layer,
        role=site.role,
        tokens=tokens,
        count=count,
        median=median,
        p99=float(peaks.quantile(0.99)),
        maximum=float(peaks.max()),
        outliers=int((peaks > OUTLIER * median).sum()),
        top_channels=tuple(channels.tolist()),
        top_values=tuple(values.tolist()),
    )
