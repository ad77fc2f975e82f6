"""VizWiz as its authors publish it, or as parquet of the Hugging Face hub.

Originals: `{split}.json`, a list of `{image, question, answers, answer_type, answerable}` (also in
`annotations/`), and the pictures in `{split}/` (also in `images/{split}/` or `images/`). The test
split has no answers. A picture's name is the id: every picture is asked about once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qvlm.data.sample import ImageSource, Sample
from qvlm.data.sources import vqa
from qvlm.data.sources.files import (
    first_directory,
    first_file,
    id_field,
    image_inside,
    read_json,
    text_field,
)
from qvlm.errors import DataError

SPLITS = ("train", "val", "test")
FOLDERS = ("", "annotations", "Annotations")


def read(directory: Path, split: str) -> list[Sample]:
    """Reads one split, in the order of its questions; raises as `vqa.read_split`."""
    return vqa.read_split("VizWiz", directory, split, SPLITS, _from_row, _from_json)


def _from_row(split: str, row: dict[str, Any], where: str) -> Sample:
    # The hub's copy calls the type of the answer its category.
    fields = {"answer_type": row.get("category"), **row}
    key, image = id_field(row, "question_id", where), vqa.stored_picture(row, where)
    return _sample(fields, split, key, image, where)


def _from_json(directory: Path, split: str) -> list[Sample]:
    path = first_file(directory, [f"{split}.json"], FOLDERS)
    root = first_directory(
        (directory / split, directory / "images" / split, directory / "images"),
        f"VizWiz's pictures of split '{split}'",
    )
    samples = []
    for number, record in enumerate(read_json(path, list), start=1):
        where = f"'{path}', question {number}"
        if not isinstance(record, dict):
            raise DataError(f"{where}: it is not an object")
        name = text_field(record, "image", where)
        samples.append(_sample(record, split, name, image_inside(root, name, where), where))
    return samples


def _sample(record: dict[str, Any], split: str, key: str, image: ImageSource, where: str) -> Sample:
    answers = record.get("answers") or None
    return vqa.question(key, split, record, answers, image, "unanswerable", where)
