"""Answers as a challenge's server takes them: a JSON list of ids and answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from qvlm.data.sample import Sample
from qvlm.errors import DataError
from qvlm.evaluation.tasks import Submission, load_task


def check_submission(task: str, samples: Sequence[Sample]) -> Submission:
    """Returns the form in which a task's answers are handed in.

    Raises:
        DataError: the task has no challenge, or an id does not fit its form.
    """
    form = load_task(task).submission
    if form is None:
        raise DataError(f"task '{task}' has no challenge's server to hand answers in to")
    for sample in samples:
        if form.number and not sample.id.isdecimal():
            raise DataError(f"sample {sample.key}: its id is no number, as '{task}' wants it")
    return form


def submission_text(task: str, samples: Sequence[Sample], answers: Mapping[str, str]) -> str:
    """Returns the file's content, in the order of the samples.

    Raises:
        DataError: as `check_submission`.
    """
    form = check_submission(task, samples)
    scorer = load_task(task).load_scorer()
    entries = [
        {
            form.id: int(sample.id) if form.number else sample.id,
            "answer": scorer.submitted(answers[sample.key]),
        }
        for sample in samples
    ]
    return json.dumps(entries, indent=0) + "\n"
