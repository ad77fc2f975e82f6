"""Answers -> columns of accuracies."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from qvlm.artefacts.scores import OVERALL, ColumnScore
from qvlm.data.prompts import conversation_text
from qvlm.data.sample import Sample
from qvlm.errors import DataError
from qvlm.evaluation.intervals import wilson
from qvlm.evaluation.tasks.scorer import Scorer


def judge(
    samples: Sequence[Sample], answers: Mapping[str, str], scorer: Scorer
) -> dict[str, float | None]:
    """Returns key -> credit (1 right, 0 wrong), or None where the answer could not be read.

    Samples whose answer is not public are left out.

    Raises:
        DataError: a sample has no answer.
    """
    marks: dict[str, float | None] = {}
    for sample in samples:
        if sample.key not in answers:
            raise DataError(f"sample {sample.key} has no answer: evaluate it first")
        if sample.answer is not None:
            marks[sample.key] = scorer.credit(answers[sample.key], sample)
    return marks


def tabulate(
    samples: Sequence[Sample], marks: Mapping[str, float | None], scorer: Scorer
) -> dict[str, ColumnScore]:
    """Returns the score of every column of the task, `Avg` last."""
    parts: defaultdict[str, list[float]] = defaultdict(list)
    for sample in samples:
        if sample.key in marks:
            for name in (*scorer.columns(sample), OVERALL):
                parts[name].append(marks[sample.key] or 0.0)
    # fsum is exact, so that the order of the samples cannot show.
    return {
        name: column(math.fsum(parts[name]), len(parts[name]))
        for name in (*scorer.COLUMNS, OVERALL)
    }


def column(correct: float, count: int) -> ColumnScore:
    """The score of `correct` answers out of `count`, with its interval."""
    correct = int(correct) if correct == int(correct) else correct
    if count == 0:
        return ColumnScore(correct=0, count=0, accuracy=None, low=None, high=None)
    low, high = wilson(correct, count)
    return ColumnScore(
        correct=correct,
        count=count,
        accuracy=100 * correct / count,
        low=100 * low,
        high=100 * high,
    )


def data_sha(samples: Iterable[Sample]) -> str:
    """sha256 over the sorted ids."""
    return _sha(sorted(sample.key for sample in samples))


def prompt_sha(samples: Iterable[Sample]) -> str:
    """sha256 over all that is said up to the answers, in order of the ids.

    With samples shown first, their keys count too: two pictures can come with the same words.
    """
    ordered = sorted(samples, key=lambda sample: sample.key)
    return _sha(
        text
        for sample in ordered
        for text in (*(shot.key for shot in sample.shots), conversation_text(sample))
    )


def _sha(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return digest.hexdigest()
