from __future__ import annotations

from statistics import stdev

import pytest

from qvlm.evaluation.seeds import over_seeds
from qvlm.evaluation.tasks import load_task
from tiny.scienceqa import sample

SCORER = load_task("scienceqa").load_scorer()


def test_mean_and_deviation_by_hand() -> None:
    samples = [sample(str(n), answer=0) for n in range(4)]
    keys = [s.key for s in samples]
    answers = [dict(zip(keys, letters, strict=True)) for letters in ("AABB", "AAAB", "A?BB")]
    average = over_seeds(samples, answers, SCORER)["Avg"]
    assert average.accuracies == pytest.approx((50, 75, 25))
    assert (average.count, average.mean) == (4, pytest.approx(50))
    assert average.deviation == pytest.approx(stdev((50, 75, 25)))
    # Question means are 1, 2/3, 1/3 and 0: no resample leaves these ends.
    assert 0 <= average.low < 50 < average.high <= 100


def test_equal_seeds_are_no_more_certain_than_one() -> None:
    samples = [sample(str(n), answer=0) for n in range(400)]
    once = {s.key: "A" if n % 2 else "B" for n, s in enumerate(samples)}
    average = over_seeds(samples, [once] * 10, SCORER)["Avg"]
    assert average.deviation == 0
    # The normal approximation of 400 tosses: 50 ± 1.96 * 2.5.
    assert average.low == pytest.approx(50 - 4.9, abs=0.6)
    assert average.high == pytest.approx(50 + 4.9, abs=0.6)


def test_an_empty_column_has_no_figures() -> None:
    table = over_seeds([sample("1")], [{"test/1": "A"}] * 2, SCORER)
    assert list(table) == [*SCORER.COLUMNS, "Avg"]
    empty = [column for column in table.values() if not column.count]
    assert empty
    assert all(column.mean is None and column.accuracies == () for column in empty)
