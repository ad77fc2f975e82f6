"""Which sites of a layer are looked at together before they are rounded.

A look runs the layer over all samples and holds the second moments of every site that it watches.
Experts read and write beside each other: what one of them receives does not depend on how another
is rounded. So they may be looked at a few at a time, and first, with the bits of a single look.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Literal

from qvlm.artefacts import Site

MOMENT_BYTES = 2 << 30
"""Second moments of experts that are held at a time; those of one expert are always held."""


def looks_of(sites: Sequence[Site], passes: Literal["site", "layer"]) -> list[tuple[Site, ...]]:
    """Returns the sites of a layer, look by look, each in execution order.

    Args:
        sites: of one layer, in execution order.
        passes: a look for every site, or one for the layer. The latter becomes several where the
            second moments of the layer's experts take more than `MOMENT_BYTES`.
    """
    if passes == "site":
        return [(site,) for site in sites]
    experts = [site for site in sites if site.expert is not None]
    if moment_bytes(experts) <= MOMENT_BYTES:
        return [tuple(sites)] if sites else []
    looks: list[tuple[Site, ...]] = []
    for _, group in groupby(experts, key=lambda site: site.expert):
        one = tuple(group)
        if looks and moment_bytes((*looks[-1], *one)) <= MOMENT_BYTES:
            looks[-1] += one
        else:
            looks.append(one)
    others = tuple(site for site in sites if site.expert is None)
    return [*looks, others] if others else looks


def moment_bytes(sites: Iterable[Site]) -> int:
    """Bytes of the second moments of some sites, [channels, channels] float32 each."""
    return 4 * sum(site.channels**2 for site in sites)
