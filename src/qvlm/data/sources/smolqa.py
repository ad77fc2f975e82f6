"""SmolQA: questions about photographs of clothing and drawn pictures, made on first use."""

from __future__ import annotations

import json
from pathlib import Path

from qvlm.data.sample import Sample
from qvlm.errors import DataError


def read(fashion: Path | None, split: str) -> list[Sample]:
    """Reads one split; `subject` is the group that a question is scored in.

    Args:
        fashion: directory of Fashion-MNIST's IDX files; None = where Debian's package
            `dataset-fashion-mnist` puts them.
        split: `train`, `val` or `test`.

    Raises:
        DataError: there is no such split, Fashion-MNIST's files are missing or broken, or the
            cached copy is damaged.
        OutputError: the cache cannot be written.
    """
    # Here, so that importing `qvlm.data` imports no image library.
    from qvlm.reference.smolqa.write import QUESTIONS, split_directory

    directory = split_directory(fashion, split)
    path = directory / QUESTIONS
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        return [
            Sample(
                id=record["id"],
                question=record["question"],
                choices=tuple(record["choices"]),
                answer=record["answer"],
                hint="",
                image=directory / f"{record['id']}.png",
                subject=record["group"],
                grade="",
                topic=record["kind"],
                split=split,
                wording="plain" if record["open"] else "letter",
            )
            for record in records
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"'{path}' is damaged ({type(error).__name__}): remove '{directory}', it is made again"
        ) from error
