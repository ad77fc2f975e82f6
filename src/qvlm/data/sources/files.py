"""Reading what strangers wrote: JSON, JSON lines, fields and paths of images.

Everything raises DataError (ImageError for images) with one line: what, where, what to do.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from qvlm.errors import DataError, ImageError, nearest

Record = Mapping[str, Any]


def read_json(path: Path, kind: type[dict[str, Any]] | type[list[Any]]) -> Any:
    """Returns the object or the list in a JSON file."""
    content = _text(path)
    try:
        value = json.loads(content)
    except json.JSONDecodeError as error:
        raise DataError(
            f"'{path}' is not JSON: {error.msg} in line {error.lineno}: download it again"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, deep nesting
        raise DataError(f"'{path}' is not JSON of usable size: download it again") from error
    if not isinstance(value, kind):
        expected = "an object" if kind is dict else "a list"
        raise DataError(
            f"'{path}' holds a {type(value).__name__} where {expected} is expected: "
            "check that it is the right file"
        )
    return value


def read_json_lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Returns where each line stands ("'FILE', line 3") and its object; blank lines are none."""
    records = []
    for number, line in enumerate(_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        where = f"'{path}', line {number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = (
                error.msg if isinstance(error, json.JSONDecodeError) else "too deep or too long"
            )
            raise DataError(f"{where}: not JSON ({reason}): correct or remove it") from error
        if not isinstance(value, dict):
            raise DataError(f"{where}: a {type(value).__name__} where an object is expected")
        records.append((where, value))
    return records


def text_field(record: Record, field: str, where: str) -> str:
    """Returns a field that has to be a text."""
    value = required(record, field, where)
    if not isinstance(value, str):
        raise DataError(f"{where}: field '{field}' is not a text")
    return value


def text_list(record: Record, field: str, where: str) -> tuple[str, ...]:
    """Returns a field that has to be a list of texts."""
    value = required(record, field, where)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise DataError(f"{where}: field '{field}' is not a list of texts")
    return tuple(value)


def index_field(record: Record, field: str, count: int, where: str) -> int:
    """Returns a field that has to be an index into `count` choices."""
    value = required(record, field, where)
    if not isinstance(value, int) or isinstance(value, bool):
        raise DataError(f"{where}: field '{field}' is not an index")
    if not 0 <= value < count:
        raise DataError(f"{where}: {field} {value} is not the index of one of {count} choices")
    return value


def id_field(record: Record, field: str, where: str) -> str:
    """Returns a field that has to be a number or a text that is not empty, as a text."""
    value = required(record, field, where)
    if isinstance(value, bool) or not isinstance(value, int | str) or value == "":
        raise DataError(f"{where}: field '{field}' is neither a number nor a text")
    return str(value)


def required(record: Record, field: str, where: str) -> Any:
    """Returns a field that has to be there."""
    if field not in record:
        raise DataError(f"{where}: field '{field}' is missing")
    return record[field]


def image_inside(root: Path, name: str, where: str) -> Path:
    """Returns `root/name`, which has to exist and to lie inside `root`, links followed.

    Args:
        root: folder of the images, resolved.
        name: path relative to it, with forward slashes.
        where: of the sample, for the message.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or any(c in name for c in "\\\0"):
        raise ImageError(f"{where}: {name!r} is not a path below '{root}', so its image is refused")
    path = root.joinpath(*parts)
    if not path.resolve().is_relative_to(root):
        raise ImageError(f"{where}: image '{path}' links to outside '{root}': refused")
    if not path.is_file():
        raise ImageError(f"{where}: image '{path}' does not exist: download the images")
    return path


def first_directory(candidates: Iterable[Path], what: str) -> Path:
    """Returns the first directory that exists, resolved."""
    tried = list(candidates)
    for path in tried:
        if path.is_dir():
            return path.resolve()
    places = ", ".join(f"'{path}'" for path in tried)
    raise ImageError(f"there is no folder of {what}: it was looked for at {places}")


def first_file(directory: Path, names: Sequence[str], folders: Sequence[str] = ("",)) -> Path:
    """Returns the first file of these names, in the directory or in a folder of it."""
    for folder in folders:
        for name in names:
            path = directory / folder / name
            if path.is_file():
                return path
    raise DataError(f"'{directory}' has no {' or '.join(names)}: give the folder that holds it")


def check_directory(directory: Path, what: str) -> None:
    """Raises DataError where there is no such directory."""
    if not directory.is_dir():
        raise DataError(f"'{directory}' is not a directory: give the folder of {what}")


def check_split(split: str, known: Iterable[str], directory: Path) -> None:
    """Raises DataError where a split is none of those that are there."""
    there = sorted(known)
    if split not in there:
        raise DataError(
            f"'{directory}' has no split '{split}'{nearest(split, there)}: "
            f"it has {', '.join(there) or 'none'}"
        )


def check_not_empty(samples: Sequence[object], split: str, path: Path) -> None:
    """Raises DataError where a split holds nothing."""
    if not samples:
        raise DataError(f"'{path}': split '{split}' is empty: choose another split")


def check_distinct(ids: Iterable[str], path: Path) -> None:
    """Raises DataError where an id occurs twice."""
    seen: set[str] = set()
    for one in ids:
        if one in seen:
            raise DataError(f"'{path}': id '{one}' occurs twice: remove one of them")
        seen.add(one)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is not JSON in UTF-8: download it again") from error
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror}") from error
