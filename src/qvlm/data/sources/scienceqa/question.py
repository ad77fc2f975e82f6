"""One problem of ScienceQA, checked, as a sample."""

from __future__ import annotations

from typing import Any

from qvlm.data.sample import LETTERS, ImageSource, Sample
from qvlm.data.sources.files import index_field, text_field, text_list
from qvlm.errors import DataError


def question(
    pid: str, split: str, record: dict[str, Any], image: ImageSource | None, where: str
) -> Sample:
    """Returns the sample of one problem, put as LLaVA-1.5 does.

    Raises:
        DataError: a field is missing or holds a value that cannot be used.
    """
    choices = text_list(record, "choices", where)
    if not 2 <= len(choices) <= len(LETTERS):
        raise DataError(f"{where}: it has {len(choices)} choices, 2 to {len(LETTERS)} are usable")
    return Sample(
        id=pid,
        question=text_field(record, "question", where),
        choices=choices,
        answer=index_field(record, "answer", len(choices), where),
        hint=text_field(record, "hint", where),
        image=image,
        subject=text_field(record, "subject", where),
        grade=text_field(record, "grade", where),
        topic=text_field(record, "topic", where),
        split=split,
        wording="llava-1.5",
        explanation=_explanation(record, where),
    )


def _explanation(record: dict[str, Any], where: str) -> str:
    """Lecture and solution as LLaVA-v1.3 has them said; questions without them have neither."""
    parts = [(name, record.get(name) or "") for name in ("lecture", "solution")]
    for name, text in parts:
        if not isinstance(text, str):
            raise DataError(f"{where}: field '{name}' is not a text")
    return "".join(f"{name.upper()}: {text}\n" for name, text in parts if text.strip())
