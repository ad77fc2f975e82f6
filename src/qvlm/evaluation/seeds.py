"""The same questions asked with several draws of what is shown first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from qvlm.artefacts.scores import OVERALL, MeanScore
from qvlm.data.sample import Sample
from qvlm.evaluation.compare import bootstrap
from qvlm.evaluation.score import judge
from qvlm.evaluation.tasks.scorer import Scorer

RESAMPLES = 10_000
SEED = 0


def over_seeds(
    samples: Sequence[Sample], answers: Sequence[Mapping[str, str]], scorer: Scorer
) -> dict[str, MeanScore]:
    """Returns the mean accuracy of every column over all seeds, with its interval.

    Every question is drawn with its answers of all seeds (a bootstrap of clusters), since those
    are about the same question: taken for independent, they would make the interval too narrow.

    Args:
        samples: the questions.
        answers: key -> answer, of every seed.
        scorer: reads them.

    Raises:
        DataError: a sample has no answer.
    """
    marks = [judge(samples, texts, scorer) for texts in answers]
    rows: defaultdict[str, list[list[float]]] = defaultdict(list)
    for sample in sorted(samples, key=lambda sample: sample.key):
        if sample.key in marks[0]:
            for name in (*scorer.columns(sample), OVERALL):
                rows[name].append([one[sample.key] or 0.0 for one in marks])
    return {name: _mean_score(rows[name]) for name in (*scorer.COLUMNS, OVERALL)}


def _mean_score(rows: Sequence[Sequence[float]]) -> MeanScore:
    """Of credits [questions, seeds]."""
    if not rows:
        return MeanScore(count=0, accuracies=(), mean=None, low=None, high=None, deviation=None)
    table = 100 * np.array(rows)
    by_seed = table.mean(axis=0)
    low, high = np.percentile(bootstrap(table.mean(axis=1), RESAMPLES, SEED), [2.5, 97.5])
    return MeanScore(
        count=len(table),
        accuracies=tuple(by_seed.tolist()),
        mean=float(by_seed.mean()),
        low=float(low),
        high=float(high),
        deviation=float(by_seed.std(ddof=1)),
    )
