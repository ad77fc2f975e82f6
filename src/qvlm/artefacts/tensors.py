"""Read and write tensors and activation statistics as safetensors files."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from qvlm.artefacts.statistics import ActivationStats, SiteStats
from qvlm.errors import ArtefactError

STATS_VERSION = 2


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Writes a safetensors file.

    Raises:
        OSError: the disk is full or the path cannot be written.
    """
    contiguous = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(contiguous, path, metadata=metadata)
    except SafetensorError as error:
        # The library wraps the operating system's error in its own; only the text is left.
        if "os error 28" in str(error).lower() or "no space" in str(error).lower():
            raise OSError(errno.ENOSPC, "No space left on device", str(path)) from error
        raise


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Reads a safetensors file.

    Raises:
        ArtefactError: it is missing or damaged.
    """
    try:
        return load_file(path)
    except FileNotFoundError as error:
        raise ArtefactError(f"'{path}' does not exist") from error
    except (SafetensorError, OSError) as error:
        raise ArtefactError(f"'{path}' is damaged: {error}") from error


def write_stats(path: Path, stats: ActivationStats) -> None:
    """Writes activation statistics as one safetensors file."""
    tensors: dict[str, torch.Tensor] = {}
    for name, site in stats.sites.items():
        tensors[f"{name}/lower"] = site.lower
        tensors[f"{name}/upper"] = site.upper
        tensors[f"{name}/lp_error"] = site.lp_error
    header: dict[str, Any] = {
        "version": STATS_VERSION,
        "percentiles": stats.percentiles,
        "tokens": {name: site.tokens for name, site in stats.sites.items()},
        "dependency": stats.dependency,
        "forward_equivalents": stats.forward_equivalents,
        "seconds": stats.seconds,
        "entropy_seconds": stats.entropy_seconds,
    }
    # An empty file of tensors is legal, but not every reader takes it.
    write_tensors(path, tensors or {"none": torch.zeros(1)}, {"qvlm": json.dumps(header)})


def read_stats(path: Path) -> ActivationStats:
    """Reads activation statistics.

    Raises:
        ArtefactError: the file is missing, damaged or of another version.
    """
    tensors = read_tensors(path)
    with safe_open(path, framework="pt") as file:
        header = json.loads((file.metadata() or {}).get("qvlm", "{}"))
    if header.get("version") != STATS_VERSION:
        raise ArtefactError(
            f"'{path}' has statistics of version {header.get('version')}, not {STATS_VERSION}"
        )
    sites = {
        name: SiteStats(
            tensors[f"{name}/lower"], tensors[f"{name}/upper"], tensors[f"{name}/lp_error"], tokens
        )
        for name, tokens in header["tokens"].items()
    }
    return ActivationStats(
        percentiles=tuple(header["percentiles"]),
        sites=sites,
        dependency={name: tuple(values) for name, values in header["dependency"].items()},
        forward_equivalents=header["forward_equivalents"],
        seconds=header["seconds"],
        entropy_seconds=header["entropy_seconds"],
    )
