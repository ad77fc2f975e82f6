"""Two models on the same questions: is the difference more than chance?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from qvlm.artefacts.scores import PairedDifference
from qvlm.data.sample import Sample
from qvlm.errors import DataError
from qvlm.evaluation.intervals import mcnemar
from qvlm.evaluation.score import judge
from qvlm.evaluation.tasks import load_task


def paired_difference(
    samples: Sequence[Sample],
    first: Mapping[str, str],
    second: Mapping[str, str],
    *,
    task: str = "scienceqa",
    resamples: int = 10_000,
    seed: int = 0,
) -> PairedDifference:
    """Accuracy of the second minus the first, with a paired bootstrap interval.

    Args:
        samples: the questions.
        first: key -> answer of the first model (see `read_answers`).
        second: key -> answer of the second model.
        task: whose parser reads the answers.
        resamples: bootstrap draws.
        seed: of the draws.

    Raises:
        DataError: there are no samples, a sample lacks an answer, or the task is unknown.
    """
    if not samples:
        raise DataError("there are no samples to compare on: give at least one")
    scorer = load_task(task).load_scorer()
    before, after = (judge(samples, answers, scorer) for answers in (first, second))
    steps = [int(after[key] is True) - int(before[key] is True) for key in before]
    lost, won, count = steps.count(-1), steps.count(1), len(steps)
    # Drawing whole samples with replacement = drawing how many were lost, won and unchanged.
    rng = np.random.default_rng(seed)
    shares = [lost / count, won / count, (count - lost - won) / count]
    draws = rng.multinomial(count, shares, size=resamples)
    low, high = np.percentile(100 * (draws[:, 1] - draws[:, 0]) / count, [2.5, 97.5])
    return PairedDifference(
        count=count,
        only_first=lost,
        only_second=won,
        difference=100 * (won - lost) / count,
        low=float(low),
        high=float(high),
        p_value=mcnemar(lost, won),
        resamples=resamples,
        seed=seed,
    )
