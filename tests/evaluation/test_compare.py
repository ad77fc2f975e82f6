from __future__ import annotations

import random

import pytest

from qvlm.errors import DataError
from qvlm.evaluation import paired_difference
from tiny.scienceqa import sample

SAMPLES = [sample(str(n)) for n in range(100)]


def answers(right: range, unparsed: range = range(0)) -> dict[str, str]:
    texts = {f"test/{n}": "B" if n in right else "A" for n in range(100)}
    return {**texts, **{f"test/{n}": "?" for n in unparsed}}


def test_by_hand() -> None:
    found = paired_difference(SAMPLES, answers(range(50)), answers(range(10, 70)))
    assert (found.count, found.only_first, found.only_second) == (100, 10, 20)
    assert found.difference == 10.0
    # standard error of the paired difference: sqrt(0.30 - 0.01) / 10 = 5.4 points
    assert found.low == pytest.approx(10 - 1.96 * 5.385, abs=1.0)
    assert found.high == pytest.approx(10 + 1.96 * 5.385, abs=1.0)
    assert found.p_value == pytest.approx(0.0987, abs=5e-4)  # 2 P(Bin(30, 1/2) <= 10)


def test_identical_and_reversed() -> None:
    same = paired_difference(SAMPLES, answers(range(50)), answers(range(50)))
    assert (same.difference, same.low, same.high, same.p_value) == (0.0, 0.0, 0.0, 1.0)
    one, two = answers(range(50)), answers(range(80))
    there, back = paired_difference(SAMPLES, one, two), paired_difference(SAMPLES, two, one)
    assert there.difference == -back.difference
    assert there.p_value == back.p_value


def test_seeded_and_independent_of_order() -> None:
    one, two = answers(range(50)), answers(range(40, 95))
    found = paired_difference(SAMPLES, one, two, seed=3)
    assert paired_difference(random.Random(0).sample(SAMPLES, 100), one, two, seed=3) == found
    assert paired_difference(SAMPLES, one, two, seed=4).seed == 4


def test_unparsed_is_wrong() -> None:
    found = paired_difference(SAMPLES, answers(range(100)), answers(range(100), range(5)))
    assert (found.only_first, found.difference) == (5, -5.0)


def test_part_credits_are_compared_by_who_gets_more() -> None:
    asked = [sample(str(n), wording="short", references=("x",) * 2 + ("y",) * 8) for n in range(8)]
    low, high = ({s.key: text for s in asked} for text in ("x", "y"))  # credits 0.6 and 1
    mixed = {**high, "test/0": "x", "test/1": "z"}
    found = paired_difference(asked, high, mixed, task="vqav2")
    assert (found.only_first, found.only_second) == (2, 0)
    assert found.difference == pytest.approx(-100 * (0.4 + 1.0) / 8)
    assert found.p_value == 0.5
    assert found.low < found.difference < found.high <= 0
    steady = paired_difference(asked, low, high, task="vqav2")
    assert steady.low == steady.high == pytest.approx(steady.difference) == pytest.approx(40.0)
    assert steady.p_value == pytest.approx(2 / 2**8)


def test_bad_input() -> None:
    with pytest.raises(DataError, match="sample test/0 has no answer"):
        paired_difference(SAMPLES, {}, {})
    with pytest.raises(DataError, match="no samples to compare"):
        paired_difference([], {}, {})
