"""The answers of one evaluation, kept line by line so that an interrupted run can go on.

First line: `{"qvlm_answers": 1, "fingerprint": {...}}`; then one `{"id": ..., "text": ...}` per
answer, in the order in which they were given. A line counts once its newline is written.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from qvlm.errors import ArtefactError, OutputError

FORMAT = 1
Fingerprint = Mapping[str, str | int | bool | None]


def read_answers(path: Path) -> dict[str, str]:
    """Returns key -> answer of an answers file; a torn last line is left out.

    Raises:
        ArtefactError: the file is missing, corrupt or of another version.
    """
    return _parse(_content(path), path)[1]


def read_matching(path: Path, fingerprint: Fingerprint) -> dict[str, str]:
    """Returns key -> answer of an answers file; an empty one or a torn header has none.

    Raises:
        OutputError: the answers are of another run.
        ArtefactError: the file is missing, corrupt or of another version.
    """
    content = _content(path)
    if b"\n" not in content and _is_torn_header(content):
        return {}
    found, answers = _parse(content, path)
    _check_same_run(path, fingerprint, found)
    return answers


class AnswersFile:
    """An answers file open for appending; a context manager.

    Attributes:
        answers: key -> text of what is in the file.
    """

    def __init__(self, path: Path, fingerprint: Fingerprint) -> None:
        """Opens or creates the file; drops a torn last line.

        Raises:
            OutputError: it cannot be written, is in use, or holds answers of another run (the
                field that differs is named; the file is left as it is).
            ArtefactError: it is no answers file.
        """
        self.path = path
        if path.exists() and not path.is_file():
            raise OutputError(f"cannot write answers '{path}': it is not a file")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: a line is with the system once it is written, and a full disk leaves
            # nothing behind that closing the file would try to write again.
            self._file: io.FileIO = path.open("a+b", buffering=0)
        except OSError as error:
            raise OutputError(f"cannot write answers '{path}': {error.strerror}") from error
        try:
            self._lock()
            self.answers = self._resume(dict(fingerprint))
        except BaseException:
            self._file.close()
            raise

    def append(self, answers: Iterable[tuple[str, str]]) -> None:
        """Writes answers to the disk, one line each, or raises OutputError."""
        for key, text in answers:
            self._write({"id": key, "text": text})
            self.answers[key] = text
        os.fsync(self._file.fileno())

    def __enter__(self) -> AnswersFile:
        """Returns itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the file."""
        self._file.close()

    def _lock(self) -> None:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise OutputError(
                    f"answers '{self.path}' are being written by another process: "
                    "wait for it or give another file"
                ) from error

    def _resume(self, fingerprint: dict[str, Any]) -> dict[str, str]:
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        if not whole and _is_torn_header(content):
            self._file.truncate(0)
            self._write({"qvlm_answers": FORMAT, "fingerprint": fingerprint})
            return {}
        found, answers = _parse(content, self.path)
        _check_same_run(self.path, fingerprint, found)
        self._file.truncate(len(whole))
        return answers

    def _write(self, value: Mapping[str, Any]) -> None:
        try:
            # ASCII, so that a lone surrogate in an answer can be written too.
            rest = json.dumps(value).encode("ascii") + b"\n"
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise OutputError(f"cannot write answers '{self.path}': {error.strerror}") from error


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise ArtefactError(f"answers '{path}' do not exist")
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtefactError(f"cannot read answers '{path}': {error.strerror}") from error


def _check_same_run(path: Path, fingerprint: Fingerprint, found: Fingerprint) -> None:
    for field in sorted({*fingerprint, *found}):
        if fingerprint.get(field) != found.get(field):
            raise OutputError(
                f"answers '{path}' are of another run: {field} is {found.get(field)!r} there and "
                f"{fingerprint.get(field)!r} here: give another file, or remove this one"
            )


def _is_torn_header(content: bytes) -> bool:
    """True for an empty file and for the beginning of a header; never for a stranger's file."""
    start = b'{"qvlm_answers": '
    return content[: len(start)] == start[: len(content)]


def _parse(content: bytes, path: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Fingerprint and answers of all whole lines."""
    lines = content.split(b"\n")[:-1]
    header = _record(lines[0]) if lines else None
    if header is None or "qvlm_answers" not in header:
        raise ArtefactError(f"'{path}' is not a file of answers: give another file")
    if header["qvlm_answers"] != FORMAT:
        raise ArtefactError(
            f"answers '{path}' are of format {header['qvlm_answers']!r}, this qvlm reads {FORMAT}"
        )
    fingerprint = header.get("fingerprint")
    if not isinstance(fingerprint, dict):
        raise ArtefactError(f"answers '{path}' have no fingerprint in line 1: remove the file")
    answers: dict[str, str] = {}
    for number, line in enumerate(lines[1:], start=2):
        record = _record(line)
        if (
            record is None
            or not isinstance(record.get("id"), str)
            or not isinstance(record.get("text"), str)
            or record["id"] in answers
        ):
            raise ArtefactError(f"answers '{path}' are corrupt in line {number}: remove the file")
        answers[record["id"]] = record["text"]
    return fingerprint, answers


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
