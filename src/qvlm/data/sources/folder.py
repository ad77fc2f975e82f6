"""Your own questions: a folder with `{split}.jsonl` and pictures.

Every line is one question:

- multiple choice: `{"question", "choices": [...], "answer": index}`;
- open: `{"question", "answer": text}` or `{"question", "answers": [text, ...]}`, of which the
  first is the one to learn and every one is right.

Also read: `image` (path below the folder), `hint`, `subject`, `id` (else the number of the line).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qvlm.data.sample import LETTERS, Sample
from qvlm.data.sources.files import (
    check_directory,
    check_distinct,
    check_not_empty,
    check_split,
    id_field,
    image_inside,
    index_field,
    read_json_lines,
    text_field,
    text_list,
)
from qvlm.errors import DataError, nearest

FIELDS = ("id", "question", "choices", "answer", "answers", "image", "hint", "subject")


def read(directory: Path, split: str) -> list[Sample]:
    """Reads one split, in the order of its lines.

    Raises:
        DataError: there is no such split, a line is broken, a field is missing, unknown or holds a
            value that cannot be used, or two lines share an id.
        ImageError: a picture is missing or lies outside the folder.
    """
    check_directory(directory, "questions")
    check_split(split, (path.stem for path in directory.glob("*.jsonl")), directory)
    path = directory / f"{split}.jsonl"
    root = directory.resolve()
    samples = [
        _sample(str(number), record, split, root, where)
        for number, (where, record) in enumerate(read_json_lines(path), start=1)
    ]
    check_not_empty(samples, split, path)
    check_distinct((sample.id for sample in samples), path)
    return samples


def _sample(number: str, record: dict[str, Any], split: str, root: Path, where: str) -> Sample:
    for field in record:
        if field not in FIELDS:
            raise DataError(f"{where}: field '{field}' is unknown{nearest(field, FIELDS)}")
    image = record.get("image")
    if image is not None:
        image = image_inside(root, text_field(record, "image", where), where)
    choices, answer = _answer(record, where)
    return Sample(
        id=id_field(record, "id", where) if "id" in record else number,
        question=text_field(record, "question", where),
        choices=choices,
        answer=answer,
        hint=text_field(record, "hint", where) if "hint" in record else "",
        image=image,
        subject=text_field(record, "subject", where) if "subject" in record else "",
        grade="",
        topic="",
        split=split,
        wording="letter" if "choices" in record else "plain",
    )


def _answer(record: dict[str, Any], where: str) -> tuple[tuple[str, ...], int | None]:
    """Choices, and which of them is right; None where the line has no answer."""
    if "choices" in record:
        choices = text_list(record, "choices", where)
        if not 2 <= len(choices) <= len(LETTERS):
            raise DataError(f"{where}: 2 to {len(LETTERS)} choices are usable, not {len(choices)}")
        has_answer = "answer" in record
        return choices, index_field(record, "answer", len(choices), where) if has_answer else None
    if "answers" in record:
        choices = text_list(record, "answers", where)
        if not choices:
            raise DataError(f"{where}: field 'answers' is empty: leave it out where none is known")
        return choices, 0
    if "answer" in record:
        return (text_field(record, "answer", where),), 0
    return (), None
