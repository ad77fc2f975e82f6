"""ScienceQA as its authors lay it out on disk.

`problems.json` {id: question}, `pid_splits.json` {split: [id]} and
`images/{split}/{id}/{name}`; the two JSON files may also lie in `data/scienceqa/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qvlm.data.sample import Sample
from qvlm.data.sources.files import (
    check_directory,
    check_not_empty,
    image_inside,
    read_json,
    required,
    text_field,
)
from qvlm.data.sources.scienceqa.question import question
from qvlm.errors import DataError, ImageError, nearest

PROBLEMS, SPLITS = "problems.json", "pid_splits.json"
NESTED = Path("data") / "scienceqa"


def read(directory: Path, split: str) -> list[Sample]:
    """Reads one split, in the order of `pid_splits.json`.

    Args:
        directory: ScienceQA's folder.
        split: a name in `pid_splits.json`, `minitest` and the like included.

    Raises:
        DataError: a file is missing or broken, the split is unknown or empty, or a question
            lacks a field or holds a value that cannot be used.
        ImageError: an image is missing or lies outside the images folder.
    """
    metadata, images = _locate(directory)
    splits = read_json(metadata / SPLITS, dict)
    problems = read_json(metadata / PROBLEMS, dict)
    if split not in splits:
        raise DataError(
            f"'{metadata / SPLITS}' has no split '{split}'{nearest(split, splits)}: "
            f"it has {', '.join(sorted(splits)) or 'none'}"
        )
    ids = splits[split]
    if not isinstance(ids, list) or not all(isinstance(pid, str) for pid in ids):
        raise DataError(f"'{metadata / SPLITS}': split '{split}' is not a list of ids")
    check_not_empty(ids, split, metadata / SPLITS)
    if len(set(ids)) != len(ids):
        twice = next(pid for pid in ids if ids.count(pid) > 1)
        raise DataError(f"'{metadata / SPLITS}': split '{split}' lists '{twice}' twice")
    root = images.resolve()
    return [_sample(pid, problems, metadata / PROBLEMS, root) for pid in ids]


def _locate(directory: Path) -> tuple[Path, Path]:
    """Folder of the JSON files and folder of the images."""
    check_directory(directory, "ScienceQA")
    metadata = directory
    if not (directory / PROBLEMS).is_file() and (directory / NESTED / PROBLEMS).is_file():
        metadata = directory / NESTED
    for name in (PROBLEMS, SPLITS):
        if not (metadata / name).is_file():
            raise DataError(f"'{metadata}' has no {name}: give the folder of ScienceQA")
    nested_images = metadata / "images"
    return metadata, nested_images if nested_images.is_dir() else directory / "images"


def _sample(pid: str, problems: dict[str, Any], path: Path, images: Path) -> Sample:
    where = f"'{path}', question '{pid}'"
    if pid not in problems:
        raise DataError(f"{where}: it is in {SPLITS} but not in {PROBLEMS}")
    problem = problems[pid]
    if not isinstance(problem, dict):
        raise DataError(f"{where}: it is a {type(problem).__name__}, not an object")
    split = text_field(problem, "split", where)
    return question(pid, split, problem, _image(pid, split, problem, images, where), where)


def _image(pid: str, split: str, problem: dict[str, Any], images: Path, where: str) -> Path | None:
    name = required(problem, "image", where)
    if name is None:
        return None
    if not isinstance(name, str) or not name:
        raise DataError(f"{where}: field 'image' is neither null nor a file name")
    for part in (split, pid, name):
        if part in ("", ".", "..") or any(sign in part for sign in "/\\\0"):
            raise ImageError(f"{where}: {part!r} is not a plain name, so its image is refused")
    return image_inside(images, f"{split}/{pid}/{name}", where)
