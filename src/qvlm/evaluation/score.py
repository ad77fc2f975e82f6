"""Answers -> columns of accuracies."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from qvlm.artefacts.scores import OVERALL, ColumnScore
from qvlm.data.prompts import user_text
from qvlm.data.sample import Sample
from qvlm.errors import DataError
from qvlm.evaluation.intervals import wilson
from qvlm.evaluation.tasks import Scorer


def judge(
    samples: Sequence[Sample], answers: Mapping[str, str], scorer: Scorer
) -> dict[str, bool | None]:
    """Returns key -> right, wrong, or None where the answer could not be read.

    Raises:
        DataError: a sample has no answer.
    """
    verdicts: dict[str, bool | None] = {}
    for sample in samples:
        if sample.key not in answers:
            raise DataError(f"sample {sample.key} has no answer: evaluate it first")
        choice = scorer.parse(answers[sample.key], sample)
        verdicts[sample.key] = None if choice is None else choice == sample.answer
    return verdicts


def tabulate(
    samples: Sequence[Sample], verdicts: Mapping[str, bool | None], scorer: Scorer
) -> dict[str, ColumnScore]:
    """Returns the score of every column of the task, `Avg` last."""
    counts: Counter[str] = Counter()
    correct: Counter[str] = Counter()
    for sample in samples:
        for name in (*scorer.columns(sample), OVERALL):
            counts[name] += 1
            correct[name] += verdicts[sample.key] is True
    return {name: column(correct[name], counts[name]) for name in (*scorer.COLUMNS, OVERALL)}


def column(correct: int, count: int) -> ColumnScore:
    """The score of `correct` answers out of `count`, with its interval."""
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
    """sha256 over the user's texts, in order of the ids."""
    ordered = sorted(samples, key=lambda sample: sample.key)
    return _sha(user_text(sample, sample.image is not None) for sample in ordered)


def _sha(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass"))
        digest.update(b"\0")
    return digest.hexdigest()
