"""Read and write artefacts; directories appear complete or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from qvlm.artefacts.statistics import ActivationStats, SiteStats
from qvlm.errors import ArtefactError, OutputError

Model = TypeVar("Model", bound=BaseModel)
STATS_VERSION = 1


@contextmanager
def atomic_directory(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yields a hidden sibling directory that becomes `target` if the body succeeds.

    On any exception, Ctrl-C included, the sibling is removed and `target` is as it was.

    Raises:
        OutputError: `target` exists and `overwrite` is False, its parent cannot be written, or
            the disk is full.
    """
    if target.exists() and not overwrite:
        raise OutputError(f"output '{target}' exists: choose another, or pass --overwrite")
    if target.exists() and not target.is_dir():
        raise OutputError(f"output '{target}' is a file: choose a directory")
    with _clear_os_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    try:
        with _clear_os_errors(target):
            yield work
            _publish(work, target)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def write_json(path: Path, model: BaseModel) -> None:
    """Writes a pydantic model as readable JSON."""
    path.write_text(model.model_dump_json(indent=2) + "\n", encoding="utf-8")


def read_json(path: Path, kind: type[Model]) -> Model:
    """Reads a pydantic model.

    Raises:
        ArtefactError: the file is missing, not JSON, or not of this kind.
    """
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ArtefactError(f"'{path}' does not exist") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ArtefactError(
            f"'{path}' is not a valid {kind.__name__}: {where}: {first['msg']}"
        ) from error
    except (ValueError, OSError) as error:
        raise ArtefactError(f"'{path}' cannot be read: {error}") from error


def write_tensors(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> None:
    """Writes a safetensors file.

    Raises:
        OSError: the disk is full or the path cannot be written.
    """
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
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
    }
    # An empty file of tensors is legal, but not every reader takes it.
    write_tensors(path, tensors or {"none": torch.zeros(1)}, {"qvlm": json.dumps(header)})


def read_stats(path: Path) -> ActivationStats:
    """Reads activation statistics.

    Raises:
        ArtefactError: the file is missing, damaged or of another version.
    """
    from safetensors import safe_open

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
    )


def _publish(work: Path, target: Path) -> None:
    mask = _umask()
    work.chmod(0o777 & ~mask)
    for file in work.rglob("*"):
        if file.is_file():
            # Some writers leave files that only their owner may read.
            file.chmod(0o666 & ~mask)
            _sync(file)
    _sync(work)
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
        target.replace(old)
        work.replace(target)
        shutil.rmtree(old)
    else:
        work.replace(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _clear_os_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                f"no space left for output '{target}': free some disk and run again"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR, errno.EEXIST):
            raise OutputError(f"cannot write output '{target}': {error.strerror}") from error
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
