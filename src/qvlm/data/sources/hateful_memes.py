"""Hateful Memes as its authors publish it: `{split}.jsonl` and the pictures in `img/`.

Every line is `{"id", "img": "img/01234.png", "text", "label": 0 or 1}`; splits without labels are
read as such. `val` and `test` stand for `dev_seen` and `test_seen` where no file has their name;
the samples then carry the real name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qvlm.data.sample import Sample
from qvlm.data.sources.files import (
    check_directory,
    check_distinct,
    check_not_empty,
    check_split,
    id_field,
    image_inside,
    read_json_lines,
    text_field,
)
from qvlm.errors import DataError

ALIASES = {"val": "dev_seen", "test": "test_seen"}
CHOICES = ("no", "yes")
"""By label: is it hateful?"""


def read(directory: Path, split: str) -> list[Sample]:
    """Reads one split, in the order of its lines.

    Raises:
        DataError: there is no such split, a line is broken, or a field is missing or holds a
            value that cannot be used.
        ImageError: a picture is missing or lies outside the folder.
    """
    check_directory(directory, "Hateful Memes")
    known = {path.stem for path in directory.glob("*.jsonl")}
    name = split if split in known else ALIASES.get(split, split)
    if name not in known:
        check_split(split, known, directory)
    path = directory / f"{name}.jsonl"
    root = directory.resolve()
    samples = [_sample(record, name, root, where) for where, record in read_json_lines(path)]
    check_not_empty(samples, name, path)
    check_distinct((sample.id for sample in samples), path)
    return samples


def _sample(record: dict[str, Any], split: str, root: Path, where: str) -> Sample:
    label = record.get("label")
    if label not in (None, 0, 1) or isinstance(label, bool | float):
        raise DataError(f"{where}: field 'label' is neither 0 nor 1")
    return Sample(
        id=id_field(record, "id", where),
        question=text_field(record, "text", where),
        choices=CHOICES,
        answer=label,
        hint="",
        image=image_inside(root, text_field(record, "img", where), where),
        subject="",
        grade="",
        topic="",
        split=split,
        wording="meme",
    )
