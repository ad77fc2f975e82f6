"""ScienceQA as its authors lay it out on disk.

`problems.json` {id: question}, `pid_splits.json` {split: [id]} and
`images/{split}/{id}/{name}`; the two JSON files may also lie in `data/scienceqa/`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from qvlm.data.sample import LETTERS, Sample
from qvlm.errors import DataError, ImageError, nearest

PROBLEMS, SPLITS = "problems.json", "pid_splits.json"
NESTED = Path("data") / "scienceqa"
TEXT_FIELDS = ("question", "hint", "subject", "grade", "topic", "split")


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
    splits = _read_object(metadata / SPLITS)
    problems = _read_object(metadata / PROBLEMS)
    if split not in splits:
        raise DataError(
            f"'{metadata / SPLITS}' has no split '{split}'{nearest(split, splits)}: "
            f"it has {', '.join(sorted(splits)) or 'none'}"
        )
    ids = splits[split]
    if not isinstance(ids, list) or not all(isinstance(pid, str) for pid in ids):
        raise DataError(f"'{metadata / SPLITS}': split '{split}' is not a list of ids")
    if not ids:
        raise DataError(f"'{metadata / SPLITS}': split '{split}' is empty: choose another split")
    if len(set(ids)) != len(ids):
        twice = next(pid for pid in ids if ids.count(pid) > 1)
        raise DataError(f"'{metadata / SPLITS}': split '{split}' lists '{twice}' twice")
    root = images.resolve()
    return [_sample(pid, problems, metadata / PROBLEMS, root) for pid in ids]


def _locate(directory: Path) -> tuple[Path, Path]:
    """Folder of the JSON files and folder of the images."""
    if not directory.is_dir():
        raise DataError(f"'{directory}' is not a directory: give the folder of ScienceQA")
    metadata = directory
    if not (directory / PROBLEMS).is_file() and (directory / NESTED / PROBLEMS).is_file():
        metadata = directory / NESTED
    for name in (PROBLEMS, SPLITS):
        if not (metadata / name).is_file():
            raise DataError(f"'{metadata}' has no {name}: give the folder of ScienceQA")
    nested_images = metadata / "images"
    return metadata, nested_images if nested_images.is_dir() else directory / "images"


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(
            f"'{path}' is not JSON: {error.msg} in line {error.lineno}: download it again"
        ) from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"'{path}' is not JSON in UTF-8: download it again") from error
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror}") from error
    if not isinstance(value, dict):
        raise DataError(f"'{path}' holds a {type(value).__name__} where an object is expected")
    return value


def _sample(pid: str, problems: dict[str, Any], path: Path, images: Path) -> Sample:
    where = f"'{path}', question '{pid}'"
    if pid not in problems:
        raise DataError(f"{where}: it is in {SPLITS} but not in {PROBLEMS}")
    problem = problems[pid]
    if not isinstance(problem, dict):
        raise DataError(f"{where}: it is a {type(problem).__name__}, not an object")
    for field in (*TEXT_FIELDS, "choices", "answer", "image"):
        if field not in problem:
            raise DataError(f"{where}: field '{field}' is missing")
    for field in TEXT_FIELDS:
        if not isinstance(problem[field], str):
            raise DataError(f"{where}: field '{field}' is not a text")
    choices = _choices(problem, where)
    return Sample(
        id=pid,
        question=problem["question"],
        choices=choices,
        answer=_answer(problem, len(choices), where),
        hint=problem["hint"],
        image=_image(pid, problem, images, where),
        subject=problem["subject"],
        grade=problem["grade"],
        topic=problem["topic"],
        split=problem["split"],
    )


def _choices(problem: dict[str, Any], where: str) -> tuple[str, ...]:
    choices = problem["choices"]
    if not isinstance(choices, list) or not all(isinstance(choice, str) for choice in choices):
        raise DataError(f"{where}: field 'choices' is not a list of texts")
    if not 2 <= len(choices) <= len(LETTERS):
        raise DataError(f"{where}: it has {len(choices)} choices, 2 to {len(LETTERS)} are usable")
    return tuple(choices)


def _answer(problem: dict[str, Any], choices: int, where: str) -> int:
    answer = problem["answer"]
    if not isinstance(answer, int) or isinstance(answer, bool):
        raise DataError(f"{where}: field 'answer' is not an index")
    if not 0 <= answer < choices:
        raise DataError(f"{where}: answer {answer} is not the index of one of {choices} choices")
    return answer


def _image(pid: str, problem: dict[str, Any], images: Path, where: str) -> Path | None:
    name = problem["image"]
    if name is None:
        return None
    if not isinstance(name, str) or not name:
        raise DataError(f"{where}: field 'image' is neither null nor a file name")
    for part in (problem["split"], pid, name):
        if part in ("", ".", "..") or any(sign in part for sign in "/\\\0"):
            raise ImageError(f"{where}: {part!r} is not a plain name, so its image is refused")
    path: Path = images / problem["split"] / pid / name
    if not path.resolve().is_relative_to(images):
        raise ImageError(f"{where}: image '{path}' links to outside '{images}': refused")
    if not path.is_file():
        raise ImageError(f"{where}: image '{path}' does not exist: download the images")
    return path
