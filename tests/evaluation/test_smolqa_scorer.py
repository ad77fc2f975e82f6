"""Exact match of open answers, letters of multiple choice."""

from __future__ import annotations

import pytest

from qvlm.evaluation.score import judge, tabulate
from qvlm.evaluation.tasks import load_task
from qvlm.evaluation.tasks.smolqa.scorer import SmolQA
from tiny.scienceqa import sample

scorer = SmolQA("llava-1.5")
GARMENTS = ("t-shirt", "shirt", "boot")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shirt", 1),
        (" Shirt.\n", 1),
        ("T-SHIRT", 0),
        ("shirt .", 1),
        ("shirts", None),
        ("a shirt", None),
        ("shirt..", None),
        ("B", None),
        ("", None),
    ],
)
def test_open_answers_must_equal_a_possible_answer(text: str, expected: int | None) -> None:
    for right in range(len(GARMENTS)):
        credit = scorer.credit(text, sample(choices=GARMENTS, answer=right, wording="plain"))
        assert credit == (None if expected is None else expected == right)


def test_multiple_choice_is_read_as_in_scienceqa() -> None:
    closed = sample(choices=GARMENTS)
    assert scorer.credit("B", closed) == 1
    assert scorer.credit("A", closed) == 0
    assert scorer.credit("shirt", closed) is None


def test_each_sample_counts_in_its_group_and_in_the_average() -> None:
    samples = [
        sample("1", choices=GARMENTS, wording="plain", subject="clothing"),
        sample("2", choices=GARMENTS, wording="plain", subject="clothing"),
        sample("3", choices=GARMENTS, wording="plain", subject="attributes"),
        sample("4", choices=GARMENTS, subject="choice"),
    ]
    answers = dict(zip((s.key for s in samples), ("shirt", "boot", "a hat", "B"), strict=True))
    task = load_task("smolqa").load_scorer()
    verdicts = judge(samples, answers, task)
    assert list(verdicts.values()) == [1, 0, None, 1]
    table = tabulate(samples, verdicts, task)
    assert [(name, one.correct, one.count) for name, one in table.items()] == [
        ("CLOTHING", 1, 2), ("ATTRIBUTES", 0, 1), ("CHOICE", 1, 1), ("Avg", 2, 4),
    ]  # fmt: skip
