"""Samples shown first: which ones, and what the model reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from qvlm.data import open_source, with_shots
from qvlm.data.batches import prompt_inputs
from qvlm.data.prompts import conversation_text, render
from qvlm.data.select import choose
from qvlm.errors import DataError
from tiny.llava import tiny_processor
from tiny.scienceqa import sample, write_scienceqa

POOL = [sample(f"p{n}", split="train", question=f"number {n}?", answer=n % 3) for n in range(9)]
ASKED = [sample(str(n)) for n in range(6)]


def test_shots_follow_from_seed_and_key_alone() -> None:
    first = {s.key: s.shots for s in with_shots(ASKED, POOL, 4, seed=1)}
    again = {s.key: s.shots for s in with_shots(choose(ASKED, 3, 0), POOL[::-1], 4, seed=1)}
    assert all(first[key] == shots for key, shots in again.items())
    assert len(set(first.values())) > 1
    assert {s.key: s.shots for s in with_shots(ASKED, POOL, 4, seed=2)} != first
    assert all(len({shot.key for shot in shots}) == 4 for shots in first.values())


def test_a_sample_is_never_shown_to_itself() -> None:
    for one in with_shots(POOL, POOL, 8, seed=0):
        assert one.key not in {shot.key for shot in one.shots}
        assert len(one.shots) == 8


def test_no_shots_change_nothing() -> None:
    assert with_shots(ASKED, [], 0, seed=0) == ASKED


def test_what_the_model_reads(tmp_path: Path) -> None:
    pictures = [s for s in open_source(str(write_scienceqa(tmp_path, train=6)), "train") if s.image]
    (asked,) = with_shots([sample("1", image=pictures[0].image)], pictures, 2, seed=0)
    processor = tiny_processor()
    text = render(asked, processor)
    assert text.count("<image>") == len(asked.images) == 3
    assert text.count("ASSISTANT:") == 3
    assert text.count("ASSISTANT: B") == 2 and text.endswith("ASSISTANT:")
    assert text.index(asked.shots[0].question) < text.index(asked.shots[1].question)
    processor.chat_template = None
    bare = render(asked, processor)
    assert bare.count("<image>") == 3 and bare.count("ASSISTANT: B</s>USER:") == 2
    inputs = prompt_inputs([asked], tiny_processor())
    assert inputs["pixel_values"].shape[0] == 3
    assert conversation_text(asked).count("<image>") == 3


def test_a_template_that_takes_no_earlier_turns_is_named() -> None:
    processor = tiny_processor()
    processor.chat_template = (
        "{% if messages|length > 1 %}{{ raise_exception('one turn only') }}{% endif %}"
        "{{ messages[0]['content'][0]['text'] }}"
    )
    (asked,) = with_shots(ASKED[:1], POOL, 2, seed=0)
    with pytest.raises(DataError, match=r"test/0, with 2 samples shown first: .*one turn only"):
        render(asked, processor)


@pytest.mark.parametrize(
    ("pool", "count", "message"),
    [
        (POOL[:4], 4, "4 samples were to be shown first, but there are 4 to draw from"),
        (POOL, -1, "cannot show -1 samples"),
        ([*POOL, sample("h", answer=None)], 2, "test/h has no public answer"),
    ],
)
def test_bad_input(pool: list, count: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        with_shots(ASKED, pool, count, seed=0)
