"""Read and write JSON artefacts; directories appear complete or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from qvlm.errors import ArtefactError, OutputError

Model = TypeVar("Model", bound=BaseModel)


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
