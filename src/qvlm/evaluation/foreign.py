"""Answers that other programs wrote: LLaVA's JSON lines and the VQA challenge's JSON list."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qvlm.data.sample import Sample
from qvlm.errors import ArtefactError
from qvlm.evaluation.answers import read_answers

FIELDS = (("question_id", "text"), ("question_id", "answer"), ("image", "answer"), ("id", "answer"))
"""Names of the id and of the answer: LLaVA's, VQAv2's, VizWiz's, and a plain one."""


def read_any_answers(path: Path, samples: Sequence[Sample]) -> dict[str, str]:
    """Returns key -> answer of a file of qvlm's, LLaVA's or a challenge's.

    Ids of the latter are those of the samples; what was not asked is an error, a sample without an
    answer is not.

    Raises:
        ArtefactError: the file is missing or corrupt, of another form, answers something that was
            not asked, or answers something twice.
    """
    if not path.is_file():
        raise ArtefactError(f"answers '{path}' do not exist")
    try:
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ArtefactError(f"cannot read answers '{path}': {error}") from error
    keys = {sample.id: sample.key for sample in samples}
    if content.startswith('{"qvlm_answers"'):
        answers = read_answers(path)
        strangers = answers.keys() - set(keys.values())
        if strangers:
            raise ArtefactError(f"answers '{path}' hold '{min(strangers)}', which is not asked")
        return answers
    answers = {}
    for where, record in _records(path, content):
        name, text = _fields(record, where)
        if name not in keys:
            raise ArtefactError(f"{where}: '{name}' is not a question of this split")
        if keys[name] in answers:
            raise ArtefactError(f"{where}: '{name}' is answered twice")
        answers[keys[name]] = text
    return answers


def _records(path: Path, content: str) -> list[tuple[str, Any]]:
    """Entries of a JSON list, or of JSON lines."""
    if content.lstrip().startswith("["):
        return [
            (f"answers '{path}', entry {number}", record)
            for number, record in enumerate(_json(content, f"answers '{path}'"), start=1)
        ]
    lines = ((f"answers '{path}', line {n}", line) for n, line in enumerate(content.split("\n"), 1))
    return [(where, _json(line, where)) for where, line in lines if line.strip()]


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ArtefactError(f"{where}: not JSON: correct or remove it") from error


def _fields(record: Any, where: str) -> tuple[str, str]:
    for name, answer in FIELDS:
        if isinstance(record, dict) and name in record and isinstance(record.get(answer), str):
            return str(record[name]), record[answer]
    forms = " or ".join(f"'{name}' and '{answer}'" for name, answer in FIELDS)
    raise ArtefactError(f"{where}: it has no {forms}")
