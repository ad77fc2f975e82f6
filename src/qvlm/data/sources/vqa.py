"""What VQAv2 and VizWiz share: ten people's answers to a question about a picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from qvlm.data.sample import ImageSource, Sample, Wording
from qvlm.data.sources.files import (
    check_directory,
    check_distinct,
    check_not_empty,
    check_split,
    text_field,
)
from qvlm.data.sources.parquet import IMAGE, holds_parquet, read_rows
from qvlm.errors import DataError, ImageError


def read_split(
    name: str,
    directory: Path,
    split: str,
    splits: Collection[str],
    from_row: Callable[[str, dict[str, Any], str], Sample],
    from_json: Callable[[Path, str], list[Sample]],
) -> list[Sample]:
    """Reads one split, from parquet where there is any, in the order of its questions.

    Args:
        name: of the data set, for messages.
        directory: of its files.
        split: which part.
        splits: those that the authors' files have.
        from_row: split, row of parquet and its place -> sample.
        from_json: directory and split -> samples of the authors' files.

    Raises:
        DataError: a file is missing or broken, the split is unknown or empty, or a question lacks
            a field, its annotation, or holds a value that cannot be used.
        ImageError: a picture is missing or lies outside its folder.
    """
    check_directory(directory, name)
    if holds_parquet(directory):
        samples = [from_row(split, row, where) for where, row in read_rows(directory, split)]
    else:
        check_split(split, splits, directory)
        samples = from_json(directory, split)
    check_not_empty(samples, split, directory)
    check_distinct((sample.id for sample in samples), directory)
    return samples


def question(
    key: str,
    split: str,
    record: Mapping[str, Any],
    answers: Any,
    image: ImageSource,
    wording: Wording,
    where: str,
) -> Sample:
    """Returns the sample of one question.

    The answer to learn from is the one that most people gave, the first of them where several
    were given equally often. The answer's type becomes the subject, the question's the topic.

    Args:
        key: its id.
        split: the part that owns it.
        record: with `question` and, where known, `answer_type` and `question_type`.
        answers: list of texts or of objects with an `answer`; None where they are not public.
        image: the picture.
        wording: how it is asked.
        where: for messages.

    Raises:
        DataError: a field is missing or holds a value that cannot be used.
    """
    references = _references(answers, where)
    choices = tuple(text for text, _ in Counter(references).most_common())
    return Sample(
        id=key,
        question=text_field(record, "question", where),
        choices=choices,
        answer=0 if choices else None,
        hint="",
        image=image,
        subject=_optional(record, "answer_type", where),
        grade="",
        topic=_optional(record, "question_type", where),
        split=split,
        wording=wording,
        references=references,
    )


def stored_picture(row: Mapping[str, Any], where: str) -> ImageSource:
    """Returns the picture of a row of parquet.

    Raises:
        ImageError: it has none.
    """
    image: ImageSource | None = row[IMAGE]
    if image is None:
        raise ImageError(f"{where}: it has no image: download the file again")
    return image


def _references(answers: Any, where: str) -> tuple[str, ...]:
    if answers is None:
        return ()
    if not isinstance(answers, list):
        raise DataError(f"{where}: field 'answers' is not a list")
    texts = []
    for item in answers:
        text = item.get("answer") if isinstance(item, dict) else item
        if not isinstance(text, str):
            raise DataError(f"{where}: field 'answers' holds something without a text")
        texts.append(text)
    return tuple(texts)


def _optional(record: Mapping[str, Any], field: str, where: str) -> str:
    return "" if record.get(field) is None else text_field(record, field, where)
