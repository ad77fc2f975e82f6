"""Rounded sites of a layer, which processes tell each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qvlm.artefacts import Site
from qvlm.artefacts.rounding import SiteRounding
from qvlm.numerics.weights import QuantizedWeight
from qvlm.search.install import Installer
from qvlm.workers import Workers

RoundedSite = tuple[SiteRounding, dict[str, QuantizedWeight]]
"""What rounding a site did, and its linears; none where it stays as it is."""
_TENSORS = ("levels", "scale", "zero_point")


def told(
    installer: Installer, sites: Sequence[Site], own: Mapping[str, RoundedSite], workers: Workers
) -> list[RoundedSite]:
    """Returns the rounded sites of all processes, in the order of the sites.

    Args:
        installer: knows the schemes.
        sites: all of them.
        own: those that this process rounded, by name.
        workers: the processes.
    """
    if workers.count == 1:
        return [own[site.name] for site in sites]
    tensors = {
        f"{path} {part}": getattr(weight, part)
        for _, weights in own.values()
        for path, weight in weights.items()
        for part in _TENSORS
    }
    parcels = workers.gather(
        {name: record.model_dump(mode="json") for name, (record, _) in own.items()}, tensors
    )
    records = {name: info for parcel in parcels for name, info in parcel.info.items()}
    arrived = {name: tensor for parcel in parcels for name, tensor in parcel.tensors.items()}
    rounded = []
    for site in sites:
        scheme, size = installer.scheme(site).weights, installer.group_size(site)
        weights = {
            path: QuantizedWeight(
                **{part: arrived[f"{path} {part}"] for part in _TENSORS},
                bits=scheme.bits,
                group_size=size,
                symmetric=scheme.symmetric,
            )
            for path in site.linears
            if f"{path} {_TENSORS[0]}" in arrived
        }
        rounded.append((SiteRounding(**records[site.name]), weights))
    return rounded
