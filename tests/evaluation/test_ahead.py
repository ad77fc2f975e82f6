from __future__ import annotations

import threading

import pytest

from qvlm.evaluation.ahead import one_ahead


def test_outcomes_come_in_turn() -> None:
    assert list(one_ahead(str, range(5))) == list("01234")
    assert list(one_ahead(str, [])) == []


def test_the_next_item_is_worked_on_while_the_present_is_in_use() -> None:
    begun = {item: threading.Event() for item in range(4)}

    def work(item: int) -> int:
        begun[item].set()
        return item

    for item in one_ahead(work, range(4)):
        if item < 3:
            assert begun[item + 1].wait(10)
        if item < 2:
            assert not begun[item + 2].is_set()


def test_an_error_waits_for_its_turn() -> None:
    def work(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    seen = []
    with pytest.raises(ValueError, match="two"):
        for item in one_ahead(work, range(5)):
            seen.append(item)
    assert seen == [0, 1]


def test_leaving_early_ends_the_thread() -> None:
    outcomes = one_ahead(str, range(1000))
    assert next(outcomes) == "0"
    before = threading.active_count()
    outcomes.close()
    assert threading.active_count() == before - 1
