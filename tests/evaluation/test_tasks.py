"""Parsers by name, credits in tables, Hateful Memes' two figures, and submissions."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qvlm.data import Sample, open_source
from qvlm.errors import DataError, OutputError
from qvlm.evaluation.options import read_options, write_options
from qvlm.evaluation.roc import roc_auc
from qvlm.evaluation.run import evaluate
from qvlm.evaluation.score import judge, tabulate
from qvlm.evaluation.tasks import load_task
from qvlm.evaluation.tasks.letters import choice_of
from tiny.scienceqa import sample
from tiny.scripted import Scripted
from tiny.vqa import write_memes, write_vizwiz, write_vqav2


@pytest.mark.parametrize(
    ("text", "v15", "v13", "colon", "lmms"),
    [
        ("B", 1, None, None, 1),
        ("b", None, None, None, 1),
        ("B.", None, None, None, 1),
        ("b.", None, None, None, None),
        ("B. the second", 1, None, None, 1),
        ("B.the second", None, None, None, 1),
        ("(B)", None, None, None, None),
        ("The answer is B.", 1, 1, None, None),
        ("The answer is B. Or: The answer is C.", None, None, None, None),
        ("A. first. The answer is B.", 0, 1, None, 0),
        ("SOLUTION: x\n###\nANSWER: C.", None, None, 2, None),
        ("ANSWER: C", None, None, None, None),
        ("ANSWER: B. ANSWER: B.", None, None, None, None),
        ("D", None, None, None, None),
        ("", None, None, None, None),
    ],
)
def test_four_parsers(
    text: str, v15: int | None, v13: int | None, colon: int | None, lmms: int | None
) -> None:
    names = ("llava-1.5", "llava-v1.3", "answer-colon", "lmms-eval")
    assert tuple(choice_of(text, 3, name) for name in names) == (v15, v13, colon, lmms)


def test_the_prompt_brings_its_parser() -> None:
    task = load_task("scienceqa")
    assert task.choose_parser(None, None) == "llava-1.5"
    assert task.choose_parser(None, "explanation") == "answer-colon"
    assert task.choose_parser("lmms-eval", "explanation") == "lmms-eval"
    assert task.choose_parser(None, "lmms-eval") == "lmms-eval"
    assert [task.length(name) for name in task.prompts] == [16, 16, 8, 1024]
    with pytest.raises(DataError, match=r"no parser 'llava' \(did you mean"):
        task.load_scorer("llava")
    with pytest.raises(DataError, match="no prompt 'short'"):
        task.choose_prompt("short")
    with pytest.raises(DataError, match="it has one only"):
        load_task("vqav2").choose_prompt("letter")


def test_without_a_name_the_prompt_is_that_of_the_data() -> None:
    task = load_task("scienceqa")
    assert task.prompt_of([sample(wording="letter")]) == "letter"
    assert task.prompt_of([sample(wording="llava-1.5")]) == "llava-1.5"
    assert task.prompt_of([sample(wording="letter")], "lmms-eval") == "lmms-eval"
    assert task.prompt_of([sample(wording="letter"), sample(wording="explanation")]) is None
    assert task.prompt_of([sample(wording="plain")]) is None
    assert load_task("vqav2").prompt_of([sample(wording="short")]) is None


def test_exact_match() -> None:
    scorer = load_task("exact_match").load_scorer()
    asked = sample(choices=("Ann", "Anna"), answer=0, wording="plain")
    answers = ("anna.", " ANN", "annie", "")
    assert [scorer.credit(text, asked) for text in answers] == [1, 1, 0, 0]
    assert scorer.credit("B", sample()) == 1


def test_part_credits_in_the_table(tmp_path: Path) -> None:
    samples = open_source(f"vqav2:{write_vqav2(tmp_path)}", "val")
    scorer = load_task("vqav2").load_scorer()
    answers = {"val/200": "dark red", "val/201": "Yes", "val/202": "3"}
    table = tabulate(samples, judge(samples, answers, scorer), scorer)
    assert {name: (one.correct, one.count) for name, one in table.items()} == {
        "yes/no": (1, 1), "number": (0, 1), "other": (pytest.approx(0.9), 1),
        "Avg": (pytest.approx(1.9), 3),
    }  # fmt: skip
    average = table["Avg"]
    assert average.accuracy == pytest.approx(190 / 3)
    assert average.low is not None and average.high is not None
    assert 0 < average.low < 190 / 3 < average.high < 100


@given(st.lists(st.tuples(st.sampled_from(("A", "B", "?")), st.integers(0, 2)), min_size=1))
def test_a_sample_twice_as_often_changes_no_accuracy(rows: list[tuple[str, int]]) -> None:
    scorer = load_task("scienceqa").load_scorer()

    def average(copies: int) -> float | None:
        samples = [
            sample(f"{copy}-{n}", answer=right)
            for copy in range(copies)
            for n, (_, right) in enumerate(rows)
        ]
        answers = {s.key: rows[int(s.id.split("-")[1])][0] for s in samples}
        random.Random(copies).shuffle(samples)
        return tabulate(samples, judge(samples, answers, scorer), scorer)["Avg"].accuracy

    once = average(1)
    assert once is not None and 0 <= once <= 100
    assert average(2) == pytest.approx(once)


def test_memes_by_hand(tmp_path: Path) -> None:
    samples = open_source(f"hateful_memes:{write_memes(tmp_path)}", "dev_seen")
    # Scripted: log p(yes) - log p(no) = id - 2.5, ids 1..4; labels 0 1 0 1.
    scores = evaluate(Scripted(), samples, task="hateful_memes", model_fingerprint="m")
    assert (scores.overall.correct, scores.overall.count) == (2, 4)  # 1 and 4
    auc = scores.measures["ROC-AUC"]
    assert (auc.value, auc.count) == (75.0, 4)  # of 4 pairs, (2, 3) is the wrong way round
    assert 0 <= auc.low < 75 < auc.high <= 100
    assert "ROC-AUC" in scores.policy


@pytest.mark.parametrize(
    ("values", "labels", "area"),
    [
        ([1, 2, 3, 4], [0, 0, 1, 1], 1.0),
        ([4, 3, 2, 1], [0, 0, 1, 1], 0.0),
        ([1, 1, 1, 1], [0, 1, 0, 1], 0.5),
        ([1, 2, 2, 3], [0, 0, 1, 1], 0.875),
        ([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1], 0.75),
    ],
)
def test_area_under_the_curve(values: list[float], labels: list[int], area: float) -> None:
    found = roc_auc(values, [bool(label) for label in labels])
    assert found is not None
    assert found[0] == pytest.approx(area)
    assert 0 <= found[1] <= found[0] <= found[2] <= 1


def test_no_area_with_one_class() -> None:
    assert roc_auc([1.0, 2.0], [True, True]) is None


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30))
def test_the_area_is_the_share_of_ordered_pairs(rows: list[tuple[int, bool]]) -> None:
    found = roc_auc([float(value) for value, _ in rows], [label for _, label in rows])
    ups, downs = ([v for v, label in rows if label is which] for which in (True, False))
    if not ups or not downs:
        assert found is None
        return
    pairs = [(up > down) + (up == down) / 2 for up in ups for down in downs]
    assert found is not None and found[0] == pytest.approx(sum(pairs) / len(pairs))


def test_options_are_read_back_or_refused() -> None:
    assert read_options(write_options({"no": -1.5, "yes": -0.25})) == {"no": -1.5, "yes": -0.25}
    for text in ("yes", "[]", "{}", '{"no": "x"}', '{"no": NaN}', '{"no": true}', "[" * 99_999):
        assert read_options(text) is None


def test_answers_that_are_no_weights_are_unparsed() -> None:
    scorer = load_task("hateful_memes").load_scorer()
    meme = sample(choices=("no", "yes"), answer=1, wording="meme")
    assert scorer.credit("yes", meme) is None
    assert scorer.credit('{"no": -1, "maybe": 0}', meme) is None
    assert scorer.credit('{"no": -1, "yes": 0}', meme) == 1
    assert scorer.shown('{"no": -1, "yes": -0.5}') == "yes (no -1.000, yes -0.500)"


def asked(samples: list[Sample], **options: object) -> object:
    return evaluate(Scripted(), samples, model_fingerprint="m", **options)  # type: ignore[arg-type]


def test_a_submission_of_vqav2(tmp_path: Path) -> None:
    samples = open_source(f"vqav2:{write_vqav2(tmp_path)}", "test-dev")
    file = tmp_path / "answers.json"
    scores = evaluate(Scripted(), samples, task="vqav2", model_fingerprint="m", submission=file)
    assert json.loads(file.read_text()) == [{"question_id": 9, "answer": ""}]  # "A" is an article
    assert (scores.total, scores.unlabelled, scores.overall.count) == (1, 1, 0)
    assert scores.overall.accuracy is None
    with pytest.raises(OutputError, match="exists: choose another"):
        asked(samples, task="vqav2", submission=file)


def test_a_submission_of_vizwiz(tmp_path: Path) -> None:
    samples = open_source(f"vizwiz:{write_vizwiz(tmp_path)}", "test")
    file = tmp_path / "answers.json"
    asked(samples, task="vizwiz", submission=file)
    (entry,) = json.loads(file.read_text())
    assert entry["image"] == "VizWiz_test_00000000.jpg"


def test_a_split_without_answers_needs_a_file(tmp_path: Path) -> None:
    samples = open_source(f"vqav2:{write_vqav2(tmp_path)}", "test-dev")
    with pytest.raises(DataError, match="split 'test-dev' has no public answers"):
        asked(samples, task="vqav2")
    with pytest.raises(DataError, match="no challenge's server"):
        asked(samples, submission=tmp_path / "x")
    with pytest.raises(OutputError, match="is not a directory"):
        asked(samples, task="vqav2", submission=tmp_path / "no" / "x")


def test_one_column_only() -> None:
    samples = [sample("1", image=Path("x.png")), sample("2"), sample("3", hint="h")]
    scores = evaluate(Scripted(), samples, model_fingerprint="m", only="IMG")
    assert (scores.total, scores.settings.only) == (1, "IMG")
    with pytest.raises(DataError, match="no column 'img': it has NAT"):
        asked(samples, only="img")
    with pytest.raises(DataError, match="no sample counts in column 'SOC'"):
        asked(samples, only="SOC")
