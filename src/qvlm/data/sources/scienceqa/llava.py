"""Questions of ScienceQA in the words of a file of LLaVA's: `llava_{split}_{format}.json`.

The file is a list of `{"id", "image"?, "conversations": [{"from": "human", "value"}, {"from":
"gpt", "value"}]}`. Only words are taken from it; choices, answers, images and columns come from
`problems.json`, as in LLaVA's own scoring. By its name, a file whose answers hold lecture and
solution (`QCM-LEPA`) is asked and read as the wording `explanation` is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from qvlm.data.sample import Sample
from qvlm.data.sources.files import check_distinct, id_field, read_json, required, text_field
from qvlm.errors import DataError

PLACEHOLDER = "<image>"
EXPLAINED = "LEPA"
"""Part of the name of files with lectures and solutions."""


def put_as_in(path: Path, samples: Sequence[Sample]) -> list[Sample]:
    """Returns the samples in the words and the order of a file, which has to hold the same ones.

    Raises:
        DataError: the file is broken, or its questions are not those of the split.
    """
    entries = read_json(path, list)
    if EXPLAINED in path.name:
        samples = [replace(sample, wording="explanation") for sample in samples]
    known = {sample.id: sample for sample in samples}
    put = []
    for number, entry in enumerate(entries, start=1):
        where = f"'{path}', entry {number}"
        if not isinstance(entry, dict):
            raise DataError(f"{where}: it is not an object")
        pid = id_field(entry, "id", where)
        if pid not in known:
            raise DataError(
                f"{where}: question '{pid}' is not in split '{samples[0].split}': "
                "name the split that the file was made for"
            )
        put.append(_put(known[pid], entry, where))
    check_distinct((sample.id for sample in put), path)
    if len(put) != len(samples):
        raise DataError(
            f"'{path}' holds {len(put)} of the {len(samples)} questions of the split: "
            "give the whole file"
        )
    return put


def _put(sample: Sample, entry: dict[str, Any], where: str) -> Sample:
    turns = required(entry, "conversations", where)
    if not isinstance(turns, list) or len(turns) != 2:
        raise DataError(f"{where}: 'conversations' are not one question and one answer")
    texts = []
    for turn, speaker in zip(turns, ("human", "gpt"), strict=True):
        if not isinstance(turn, dict) or turn.get("from") != speaker:
            raise DataError(f"{where}: 'conversations' are not one of 'human' and one of 'gpt'")
        texts.append(text_field(turn, "value", where))
    question, answer = texts
    if (PLACEHOLDER in question) != (sample.image is not None):
        raise DataError(
            f"{where}: it and problems.json disagree on whether question '{sample.id}' has an "
            "image: take both from the same release"
        )
    return replace(sample, conversation=(question.replace(PLACEHOLDER, "").strip(), answer.strip()))
