"""Two models on the same questions: is the difference more than chance?"""

from __future__ import annotations

import math
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
    parser: str | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> PairedDifference:
    """Accuracy of the second minus the first, with a paired bootstrap interval.

    Args:
        samples: the questions.
        first: key -> answer of the first model (see `read_answers`).
        second: key -> answer of the second model.
        task: whose parser reads the answers.
        parser: which of its parsers; None = its first.
        resamples: bootstrap draws.
        seed: of the draws.

    Raises:
        DataError: there are no samples, a sample lacks an answer, no answer is public, or the
            task or the parser is unknown.
    """
    if not samples:
        raise DataError("there are no samples to compare on: give at least one")
    scorer = load_task(task).load_scorer(parser)
    before, after = (judge(samples, answers, scorer) for answers in (first, second))
    if not before:
        raise DataError("no sample has a public answer: compare on another split")
    steps = np.array([(after[key] or 0.0) - (before[key] or 0.0) for key in sorted(before)])
    lost, won, count = int((steps < 0).sum()), int((steps > 0).sum()), len(steps)
    low, high = np.percentile(100 * bootstrap(steps, resamples, seed), [2.5, 97.5])
    return PairedDifference(
        count=count,
        only_first=lost,
        only_second=won,
        difference=100 * math.fsum(steps) / count,
        low=float(low),
        high=float(high),
        p_value=mcnemar(lost, won),
        resamples=resamples,
        seed=seed,
    )


def bootstrap(steps: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Means of samples drawn with replacement, [resamples]."""
    # That is the same as drawing how often each distinct step occurs, of which there are few.
    values, counts = np.unique(steps, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(steps), counts / len(steps), size=resamples)
    means: np.ndarray = draws @ values / len(steps)
    return means
