"""VQAv2 as its authors publish it, or as parquet of the Hugging Face hub.

Originals: `v2_OpenEnded_mscoco_{subset}_questions.json`, `v2_mscoco_{subset}_annotations.json`
(none for the test splits) and COCO's pictures in `{subset}/COCO_{subset}_{image_id:012d}.jpg`.
The JSON files may lie in `questions/` and `annotations/`, the pictures' folders in `images/`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qvlm.data.sample import Sample
from qvlm.data.sources import vqa
from qvlm.data.sources.files import (
    first_directory,
    first_file,
    id_field,
    image_inside,
    read_json,
    required,
)
from qvlm.errors import DataError

SUBSETS = {"train": "train2014", "val": "val2014", "test": "test2015", "test-dev": "test-dev2015"}
"""Split -> name in the files. Both test splits are about the pictures of `test2015`."""
PUBLIC = ("train", "val")
"""Splits whose answers are public."""
QUESTIONS = "v2_OpenEnded_mscoco_{}_questions.json"
ANNOTATIONS = "v2_mscoco_{}_annotations.json"


def read(directory: Path, split: str) -> list[Sample]:
    """Reads `train`, `val`, `test` or `test-dev` (of parquet, the files' own names).

    In the order of the questions; raises as `vqa.read_split`.
    """
    return vqa.read_split("VQAv2", directory, split, SUBSETS, _from_row, _from_json)


def _from_row(split: str, row: dict[str, Any], where: str) -> Sample:
    key, image = id_field(row, "question_id", where), vqa.stored_picture(row, where)
    return vqa.question(key, split, row, row.get("answers") or None, image, "short", where)


def _from_json(directory: Path, split: str) -> list[Sample]:
    subset = SUBSETS[split]
    path = first_file(directory, [QUESTIONS.format(subset)], ("", "questions"))
    annotations = _annotations(directory, split)
    pictures = "test2015" if split == "test-dev" else subset
    root = first_directory(
        (directory / pictures, directory / "images" / pictures), f"COCO's pictures {pictures}"
    )
    samples = []
    for number, record in enumerate(_list(path, "questions"), start=1):
        where = f"'{path}', question {number}"
        key = id_field(record, "question_id", where)
        annotation = annotations.get(key, {})
        if split in PUBLIC and not annotation:
            raise DataError(f"{where}: question_id {key} has no annotation: download both again")
        image_id = required(record, "image_id", where)
        if not isinstance(image_id, int) or isinstance(image_id, bool) or image_id < 0:
            raise DataError(f"{where}: field 'image_id' is not a number")
        image = image_inside(root, f"COCO_{pictures}_{image_id:012d}.jpg", where)
        fields = {**annotation, **record}
        samples.append(
            vqa.question(key, split, fields, annotation.get("answers"), image, "short", where)
        )
    return samples


def _annotations(directory: Path, split: str) -> dict[str, dict[str, Any]]:
    if split not in PUBLIC:
        return {}
    path = first_file(directory, [ANNOTATIONS.format(SUBSETS[split])], ("", "annotations"))
    return {
        id_field(record, "question_id", f"'{path}', annotation {number}"): record
        for number, record in enumerate(_list(path, "annotations"), start=1)
    }


def _list(path: Path, field: str) -> list[dict[str, Any]]:
    records = read_json(path, dict).get(field)
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise DataError(f"'{path}' has no list of {field}: check that it is the right file")
    return records
