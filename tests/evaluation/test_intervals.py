from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qvlm.evaluation.intervals import mcnemar, wilson


@pytest.mark.parametrize(
    ("correct", "count", "low", "high"),
    [
        # Newcombe (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_wilson_against_published_values(correct: int, count: int, low: float, high: float) -> None:
    assert wilson(correct, count) == pytest.approx((low, high), abs=5e-5)


@settings(deadline=None)
@given(st.integers(1, 5000), st.data())
def test_wilson_holds_the_share_and_stays_in_the_unit_interval(
    count: int, data: st.DataObject
) -> None:
    correct = data.draw(st.integers(0, count))
    low, high = wilson(correct, count)
    assert 0.0 <= low <= correct / count + 1e-12
    assert correct / count - 1e-12 <= high <= 1.0
    assert wilson(count - correct, count) == pytest.approx((1 - high, 1 - low), abs=1e-12)


@pytest.mark.parametrize(("correct", "count"), [(1, 0), (3, 2), (-1, 2)])
def test_no_share(correct: int, count: int) -> None:
    with pytest.raises(ValueError, match="is not a share"):
        wilson(correct, count)


def test_mcnemar_by_hand() -> None:
    assert mcnemar(0, 0) == 1.0
    assert mcnemar(0, 5) == 2 / 32
    assert mcnemar(5, 0) == mcnemar(0, 5)
    assert mcnemar(1, 3) == 2 * (1 + 4) / 16
    assert mcnemar(7, 7) == 1.0
    assert 0.0 <= mcnemar(1000, 3000) < 1e-200
