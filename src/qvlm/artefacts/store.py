"""Read and write JSON artefacts; directories appear complete or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from qvlm.errors import ArtefactError, OutputError

Model = TypeVar("Model", bound=BaseModel)
RESULT_NAMES = ("result.json", "comparison.json", "analysis.json", "speed.json", "conversion.json")
"""One of these lies in every directory that qvlm writes, and lets it be overwritten."""

_WRITE_ERRORS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EROFS,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EEXIST,
}


@contextmanager
def atomic_directory(target: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yields a hidden sibling directory that becomes `target` if the body succeeds.

    On any exception, Ctrl-C included, the sibling is removed and `target` is as it was.

    Raises:
        OutputError: `target` exists and `overwrite` is False, or it is none of qvlm's outputs;
            its parent cannot be written, or the disk is full.
    """
    check_replaceable(target, overwrite)
    made = [parent for parent in (target.parent, *target.parent.parents) if not parent.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    except OSError as error:
        raise output_error(target, error) from error
    try:
        with clear_os_errors(target):
            yield work
            publish(work, target)
    except BaseException as error:
        # What the body could have gone on with lies in `work`.
        error.__dict__.pop("resume_hint", None)
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
        remove_empty(made)


def check_scores_file(path: Path, overwrite: bool) -> None:
    """Raises OutputError where scores cannot be written, before there are any."""
    if path.is_dir() or not path.parent.is_dir():
        raise OutputError(f"cannot write scores '{path}': give a file in a directory that exists")
    if os.path.lexists(path) and not overwrite:
        raise OutputError(f"scores '{path}' exist: choose another file, or pass --overwrite")


def check_new_file(path: Path) -> None:
    """Raises OutputError where a file cannot be created, before there is anything to write."""
    if os.path.lexists(path):
        raise OutputError(f"output '{path}' exists: choose another, or remove it")
    if not path.parent.is_dir():
        raise OutputError(f"cannot write '{path}': '{path.parent}' is not a directory")


def write_new_file(path: Path, text: str) -> None:
    """Writes a text file that appears complete or not at all.

    Raises:
        OutputError: it exists, cannot be written, or the disk is full.
    """
    check_new_file(path)
    work = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:
            work = Path(file.name)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        work.chmod(0o666 & ~_umask())
        work.replace(path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        if work is not None:
            work.unlink(missing_ok=True)


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


def publish(work: Path, target: Path, aside: Path | None = None) -> None:
    """Renames a finished directory to its place.

    Args:
        work: the directory, on the same file system.
        target: its place; what is there is moved away first, and back if `work` cannot follow.
        aside: where to leave what was there, with its remover; None to remove it here.
    """
    mask = _umask()
    work.chmod(0o777 & ~mask)
    for file in work.rglob("*"):
        if file.is_file():
            # Some writers leave files that only their owner may read.
            file.chmod(0o666 & ~mask)
            to_disk(file)
    to_disk(work)
    if target.exists():
        old = aside or Path(tempfile.mkdtemp(prefix=f".{target.name}.old-", dir=target.parent))
        target.replace(old)
        try:
            work.replace(target)
        except BaseException:
            old.replace(target)
            raise
        if aside is None:
            shutil.rmtree(old)
    else:
        work.replace(target)
    to_disk(target.parent)


def to_disk(path: Path) -> None:
    """Waits until a file or a directory's entries are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_replaceable(target: Path, overwrite: bool) -> None:
    """Raises OutputError where a directory may not be created or replaced at `target`."""
    if not os.path.lexists(target):
        return
    if not overwrite:
        raise OutputError(f"output '{target}' exists: choose another, or pass --overwrite")
    if target.is_symlink() or not target.is_dir():
        raise OutputError(f"output '{target}' is a file or a link: choose a directory")
    # Overwriting deletes: a mistyped path must not cost a home directory or the source model.
    if any(target.iterdir()) and not any((target / name).is_file() for name in RESULT_NAMES):
        raise OutputError(
            f"output '{target}' holds other files than a run of qvlm, so it is not overwritten: "
            "choose another"
        )


def remove_empty(directories: Sequence[Path]) -> None:
    """Removes parents made for an output that never came, innermost first."""
    for directory in directories:
        try:
            directory.rmdir()
        except OSError:
            return


def output_error(target: Path, error: OSError) -> OutputError:
    """The one line on an output that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(f"no space left for output '{target}': free some disk and run again")
    return OutputError(f"cannot write output '{target}': {error.strerror}")


@contextmanager
def clear_os_errors(target: Path) -> Iterator[None]:
    """Turns what the operating system says of writing into an OutputError."""
    try:
        yield
    except OSError as error:
        if error.errno in _WRITE_ERRORS:
            raise output_error(target, error) from error
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
