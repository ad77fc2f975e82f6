"""Where a run keeps what it finished, beside its output, until that is complete."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from qvlm.artefacts.journal import Journal
from qvlm.artefacts.manifest import (
    MANIFEST_NAME,
    check_manifest,
    partial_of,
    read_manifest,
    write_manifest,
)
from qvlm.artefacts.store import (
    check_replaceable,
    clear_os_errors,
    output_error,
    publish,
    remove_empty,
)
from qvlm.errors import OutputError, QvlmError
from qvlm.workers import ALONE, Workers

LOCK_NAME = "lock"
_OUTPUT = "output"
_PUBLISHED = "published"
"""Made right before the output is renamed to its place."""


class Workspace:
    """OUTPUT.partial: the lock, the manifest and the steps of a run, and its output to be.

    Attributes:
        target: where the output will appear.
        directory: the workspace.
        steps: what is finished.
    """

    def __init__(self, target: Path, workers: Workers = ALONE) -> None:
        self.target = target
        self.directory = partial_of(target)
        self.steps = Journal(self.directory / "steps", workers)
        self._resumed = bool(len(self.steps))

    def agree(
        self, request: Mapping[str, Any], ingredients: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Notes what the run is made from, or checks that it is what it was made from before.

        Args:
            request: what starts the run again.
            ingredients: kind -> name -> value that decides the outcome.

        Raises:
            ResumeError: an ingredient has changed; it is named.
        """
        if self._resumed:
            check_manifest(self.target, ingredients)
        else:
            write_manifest(self.target, request, ingredients)

    def output(self) -> Path:
        """An empty directory, to be filled with the whole output."""
        output = self.directory / _OUTPUT
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        return output

    def publish(self) -> None:
        """Renames the output to its place; what was there goes with the workspace."""
        (self.directory / _PUBLISHED).touch()
        publish(self.directory / _OUTPUT, self.target, self.directory / "replaced")


@contextmanager
def workspace(
    target: Path, *, overwrite: bool = False, resume: bool = False, workers: Workers = ALONE
) -> Iterator[Workspace]:
    """Yields the workspace of an output, locked; its output is published by the body.

    After success the workspace is removed. After an error that says the input is wrong, or before
    anything is finished, it is removed, too. Else it stays for `resume`, and the exception carries
    a `resume_hint`. Of several processes the first one does all that.

    Raises:
        OutputError: `target` may not be replaced, or cannot be written; another run is at work; an
            interrupted run is there and neither `resume` nor `overwrite` was asked for.
        ResumeError: there is nothing to resume.
    """
    entries: list[_Entry] = []
    workers.lead(lambda: entries.append(_Entry(target, overwrite, resume)))
    try:
        with clear_os_errors(target):
            yield Workspace(target, workers)
    except BaseException as error:
        for entry in entries:
            entry.leave(error)
        raise
    for entry in entries:
        entry.leave(None)


class _Entry:
    """A workspace that this process has locked, until it leaves."""

    def __init__(self, target: Path, overwrite: bool, resume: bool) -> None:
        check_replaceable(target, overwrite)
        self._target, self._resume = target, resume
        directory = self._directory = partial_of(target)
        if resume:
            read_manifest(target)
        self._made: list[Path] = []
        try:
            self._made += [path for path in (directory, *directory.parents) if not path.exists()]
            directory.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(directory)
        except OSError as error:
            remove_empty(self._made)
            raise output_error(target, error) from error
        if resume:
            return
        try:
            with clear_os_errors(target):
                _clear(directory, target, overwrite)
        except BaseException as error:
            self.leave(error)
            raise

    def leave(self, error: BaseException | None) -> None:
        """Removes the workspace or says how to go on with it; the error is why it is left."""
        try:
            if error is None:
                _remove(self._directory)
            elif _is_worth_keeping(self._directory, error, self._resume):
                _hint(error, self._target)
            else:
                _remove(self._directory)
                remove_empty(self._made[1:])
        finally:
            self._lock.close()


def finish(target: Path) -> bool:
    """Removes the workspace of a run that ended after its output was in place; True if it was so.

    Raises:
        OutputError: another run is at work.
    """
    directory = partial_of(target)
    published = (directory / _PUBLISHED).exists() and not (directory / _OUTPUT).exists()
    if not published or not target.is_dir():
        return False
    with _lock(directory):
        _remove(directory)
    return True


def _lock(directory: Path) -> IO[str]:
    """Holds the workspace until the file is closed or the process ends."""
    lock = (directory / LOCK_NAME).open("a+", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.close()
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise OutputError(
                f"another run is at work in '{directory}': wait for it, or choose another output"
            ) from error
        raise
    if not os.path.samestat(os.fstat(lock.fileno()), (directory / LOCK_NAME).stat()):
        lock.close()
        raise OutputError(f"another run has just ended in '{directory}': run again")
    return lock


def _clear(directory: Path, target: Path, overwrite: bool) -> None:
    """Makes the workspace empty for a new run."""
    if not overwrite and _has_steps(directory):
        raise OutputError(
            f"a run was interrupted in '{directory}': continue it with `qvlm quantize --resume "
            f"{target}`, or start again with --overwrite"
        )
    for path in directory.iterdir():
        if path.name != LOCK_NAME:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _is_worth_keeping(directory: Path, error: BaseException, resumed: bool) -> bool:
    """A wrong input ends a new run for good; what was resumed can be once more."""
    if isinstance(error, QvlmError) and not isinstance(error, OutputError) and not resumed:
        return False
    return _has_steps(directory)


def _has_steps(directory: Path) -> bool:
    return (directory / MANIFEST_NAME).is_file() and bool(len(Journal(directory / "steps")))


def _hint(error: BaseException, target: Path) -> None:
    if "--resume" in str(error):
        return
    hinted: Any = error
    hinted.resume_hint = f"continue with `qvlm quantize --resume {target}`"


def _remove(directory: Path) -> None:
    """Removes a workspace; what `finish` and the lock need goes last."""
    last = (_PUBLISHED, MANIFEST_NAME)
    for path in sorted(directory.iterdir(), key=lambda path: path.name in last):
        if path.name != LOCK_NAME:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
    (directory / LOCK_NAME).unlink(missing_ok=True)
    directory.rmdir()
