"""Write a new directory that appears complete or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qvlm.errors import OutputError


@contextmanager
def new_directory(directory: Path) -> Iterator[Path]:
    """Yields a hidden sibling that is renamed to `directory` if the body succeeds.

    Unlike `artefacts.store.atomic_directory` it never replaces anything, so that of several
    processes that fill the same cache the first one wins.

    Raises:
        OutputError: it exists already or cannot be written.
    """
    if directory.exists():
        raise OutputError(f"{directory}: exists already; choose a new directory")
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{directory.name}-", dir=directory.parent))
    except OSError as error:
        raise OutputError(f"{directory}: cannot be written ({error.strerror})") from error
    try:
        staging.chmod(0o755)
        yield staging
        # A directory renamed onto a non-empty one fails, so a racing writer cannot be overwritten.
        staging.rename(directory)
    except OSError as error:
        raise OutputError(f"{directory}: cannot be written ({error.strerror})") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
