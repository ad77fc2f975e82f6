from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from qvlm.errors import DataError
from qvlm.evaluation.score import column, judge, tabulate
from qvlm.evaluation.tasks import load_task, task_names
from qvlm.evaluation.tasks.letters import choice_of
from qvlm.evaluation.tasks.scienceqa.scorer import ScienceQA
from tiny.scienceqa import sample


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A", 0),
        (" C\n", 2),
        ("B. the second", 1),
        ("The answer is B.", 1),
        ("It pulls, so The answer is C. BECAUSE: x", 2),
        ("D", None),  # no such choice
        ("D. fourth", None),
        ("The answer is D.", None),
        ("b", None),
        ("B.", None),
        ("(B)", None),
        ("B) the second", None),
        ("B the second", None),
        ("The answer is B", None),
        ("The answer is Because", 1),
        ("The answer is A. The answer is B.", None),
        ("the answer is B.", None),
        ("", None),
        ("   ", None),
        ("!!!!", None),
        ("ABC", None),
        ("\u0410", None),  # Cyrillic
        ("2", None),
        ("1. one. The answer is A.", 0),
        ("The answer is B!", 1),  # the published pattern takes any character
        ("The answer is B\n", None),
        ("E. The answer is A.", None),  # a letter that LLaVA knows and the question does not
        ("F. The answer is A.", 0),
    ],
)
def test_parser(text: str, expected: int | None) -> None:
    assert choice_of(text, 3, "llava-1.5") == expected


scorer = ScienceQA("llava-1.5")
IMAGE = Path("x.png")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"hint": "h", "image": IMAGE, "grade": "grade6"}, {"NAT", "TXT", "IMG", "G1-6"}),
        ({"hint": "h", "grade": "grade7"}, {"NAT", "TXT", "G7-12"}),
        ({"image": IMAGE, "subject": "social science"}, {"SOC", "IMG", "G1-6"}),
        ({"subject": "language science", "grade": "grade12"}, {"LAN", "NO", "G7-12"}),
        ({"subject": "history", "grade": "grade13"}, {"NO"}),
    ],
)
def test_columns(fields: dict[str, Any], expected: set[str]) -> None:
    found = scorer.columns(sample(**fields))
    assert set(found) == expected
    assert len(found) == len(expected)


def test_table_by_hand() -> None:
    samples = [
        sample("1", hint="h", image=IMAGE),
        sample("2", hint="h", grade="grade9"),
        sample("3", subject="social science"),
        sample("4", image=IMAGE),
    ]
    answers = {"test/1": "B", "test/2": "A", "test/3": "B", "test/4": "hm"}
    verdicts = judge(samples, answers, scorer)
    assert list(verdicts.values()) == [1, 0, 1, None]
    table = tabulate(samples, verdicts, scorer)
    assert list(table) == ["NAT", "SOC", "LAN", "TXT", "IMG", "NO", "G1-6", "G7-12", "Avg"]
    shares = {name: (score.correct, score.count) for name, score in table.items()}
    assert shares == {
        "NAT": (1, 3),
        "SOC": (1, 1),
        "LAN": (0, 0),
        "TXT": (1, 2),
        "IMG": (1, 2),
        "NO": (1, 1),
        "G1-6": (2, 3),
        "G7-12": (0, 1),
        "Avg": (2, 4),
    }
    assert table["Avg"].accuracy == 50.0
    assert table["LAN"] == column(0, 0)
    assert table["LAN"].accuracy is None


def test_a_sample_without_an_answer_is_an_error() -> None:
    with pytest.raises(DataError, match="sample test/1 has no answer"):
        judge([sample("1")], {}, scorer)


def test_tasks_are_found_by_name_and_alias() -> None:
    assert task_names() == (
        "exact_match", "hateful_memes", "picoscience", "scienceqa", "smolqa", "vizwiz", "vqav2",
    )  # fmt: skip
    assert load_task("picoscience") == load_task("scienceqa")
    assert isinstance(load_task("scienceqa").load_scorer(), ScienceQA)
    with pytest.raises(DataError, match=r"'sciencqa' is unknown \(did you mean 'scienceqa'\?\)"):
        load_task("sciencqa")
