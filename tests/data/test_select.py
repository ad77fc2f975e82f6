from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qvlm.data import Sample, check_disjoint, choose, split_guard
from qvlm.errors import DataError
from tiny.scienceqa import sample


def mixed(images: int, texts: int) -> list[Sample]:
    with_image = [sample(f"i{n}", image=Path(f"{n}.png")) for n in range(images)]
    return with_image + [sample(f"t{n}") for n in range(texts)]


def test_choice_depends_on_the_set_and_the_seed_only() -> None:
    samples = mixed(10, 10)
    shuffled = random.Random(3).sample(samples, 20)
    assert choose(samples, 7, seed=1) == choose(shuffled, 7, seed=1)
    assert choose(samples, 7, seed=1) != choose(samples, 7, seed=2)
    assert sorted(s.key for s in choose(samples, 20, 0)) == sorted(s.key for s in samples)


def test_too_many_says_how_many_there_are() -> None:
    with pytest.raises(DataError, match="9 samples were asked for, but the data has 4"):
        choose(mixed(2, 2), 9, seed=0)
    with pytest.raises(DataError, match="at least 1"):
        choose(mixed(2, 2), 0, seed=0)


@settings(deadline=None)
@given(st.integers(0, 12), st.integers(0, 12), st.floats(0.01, 0.99), st.integers(0, 5))
def test_the_guard_is_a_partition_with_both_kinds_in_both_parts(
    images: int, texts: int, fraction: float, seed: int
) -> None:
    samples = mixed(images, texts)
    if len(samples) < 2:
        with pytest.raises(DataError, match="cannot be split"):
            split_guard(samples, fraction, seed)
        return
    search, guard = split_guard(samples, fraction, seed)
    assert search and guard
    assert sorted(s.key for s in search + guard) == sorted(s.key for s in samples)
    for count, has_image in ((images, True), (texts, False)):
        if count >= 2:
            for part in (search, guard):
                assert any((s.image is not None) == has_image for s in part)
    assert split_guard(samples, fraction, seed) == (search, guard)


def test_guard_share() -> None:
    search, guard = split_guard(mixed(32, 32), 0.25, seed=0)
    assert (len(search), len(guard)) == (48, 16)
    assert split_guard(mixed(1, 0), 0.0, seed=0) == (mixed(1, 0), [])
    with pytest.raises(DataError, match=r"not in \[0, 1\)"):
        split_guard(mixed(2, 2), 1.0, seed=0)


def test_overlap_names_an_id() -> None:
    check_disjoint(["train/1"], ["test/1"])
    with pytest.raises(DataError, match="first 'test/1'"):
        check_disjoint(["test/1", "test/2"], ["test/2", "test/1"])
