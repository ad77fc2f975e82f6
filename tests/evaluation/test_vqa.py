"""VQA accuracy against cases worked out by hand from the definition and its known quirks."""

from __future__ import annotations

import random
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qvlm.evaluation.tasks import load_task
from qvlm.evaluation.vqa_accuracy import share_that_agrees, vqa_accuracy
from qvlm.evaluation.vqa_text import normalised, one_line, processed
from tiny.scienceqa import sample
from tiny.vqa import TEN

RULES = ("challenge", "raw", "lmms-eval")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # words
        ("The Red Car", "red car"),
        ("a an the", ""),
        ("none", "0"),
        ("Ten zero", "10 0"),
        ("eleven", "eleven"),
        ("twenty one", "twenty 1"),
        ("onetwo", "onetwo"),
        # contractions
        ("dont", "don't"),
        ("DONT", "don't"),
        ("don't", "don't"),
        ("couldntve", "couldntve"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("oclock maam", "o'clock ma'am"),
        ("twas", "'twas"),
        ("ow's'at", "'ow's'at"),
        ("yalld've y'alld've", "yalld've y'all'd've"),
        ("somebody'd", "somebodyd"),
        ("somebodyd've", "somebody'd've"),
        ("Im Ive Id've", "im ive id've"),
        ("wed shed id hell", "wed shed id hell"),
        # punctuation
        ("red-blue", "red blue"),
        ("red- blue", "red blue"),
        ("red -blue", "red blue"),
        ("a-b c-", "b c"),
        ("a-b c- d", "ab c d"),
        ("yes!", "yes"),
        ("(yes)", "yes"),
        ("no,yes", "no yes"),
        ("no, yes", "no yes"),
        ("1,000", "1000"),
        ("1,000 (ab)", "1000 ab"),
        ("1,000/2-3", "100023"),
        ("1,a-b", "1 b"),
        ("one,two", "1 2"),
        ("it's", "it's"),
        ("what:ever", "what:ever"),
        ("a'b", "a'b"),
        # periods
        ("5.", "5"),
        ("3.14", "3.14"),
        (".5", ".5"),
        ("a.5", "a.5"),
        ("a.b", "ab"),
        ("U.S.A.", "usa"),
        ("." * 40, "." * 8),
        # blanks and unicode
        ("", ""),
        ("   ", ""),
        ("two\u00a0cats", "2 cats"),
        ("caf\u00e9", "caf\u00e9"),
        ("\u0130", "i\u0307"),
        ("\u4e8c", "\u4e8c"),
        ("\uff0c", "\uff0c"),
    ],
)
def test_normalisation(text: str, expected: str) -> None:
    assert normalised(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes", "yes"),
        ("Yes, it is.", "yes it is"),
        ("man's hat", "man 's hat"),
        ("1,000", "1000"),
        ("1,000-2", "1000 2"),  # the comma is gone before signs are looked at
        ("what?", "what"),
        ("The\ncat", "cat"),
        ("it's", "it 's"),
    ],
)
def test_the_answer_processor(text: str, expected: str) -> None:
    assert processed(text) == expected


def test_lines_become_one() -> None:
    assert one_line("\n a\tb\nc ") == "a b c"


def by_definition(matches: int, people: int) -> float:
    """Leave every person out in turn, and count."""
    votes = [index < matches for index in range(people)]
    others = [sum(votes) - vote for vote in votes]
    return sum(min(1.0, count / 3) for count in others) / people


@pytest.mark.parametrize("people", [1, 3, 10])
def test_the_share_is_that_of_the_definition(people: int) -> None:
    for matches in range(people + 1):
        assert share_that_agrees(matches, people) == pytest.approx(by_definition(matches, people))


def test_the_share_is_the_mean_over_all_nines() -> None:
    for matches in range(11):
        votes = [True] * matches + [False] * (10 - matches)
        nines = [min(sum(nine) / 3, 1.0) for nine in combinations(votes, 9)]
        assert share_that_agrees(matches, 10) == pytest.approx(sum(nines) / len(nines))


@pytest.mark.parametrize(
    ("answer", "challenge", "raw", "lmms"),
    [
        ("red", 1.0, 1.0, 1.0),  # four and two of ten, once "Red." is "red"
        ("RED!", 1.0, 1.0, 1.0),
        ("dark red", 0.9, 0.9, 0.9),  # three: 7 x 3/3 + 3 x 2/3
        ("the dark-red", 0.9, 0.9, 0.9),
        ("blue", 0.3, 0.3, 0.3),  # one: 9 x 1/3 + 1 x 0
        ("green", 0.0, 0.0, 0.0),
        ("", 0.0, 0.0, 0.0),
    ],
)
def test_ten_different_answers(answer: str, challenge: float, raw: float, lmms: float) -> None:
    for rule, expected in zip(RULES, (challenge, raw, lmms), strict=True):
        assert vqa_accuracy(answer, TEN, rule) == pytest.approx(expected), rule


@pytest.mark.parametrize(
    ("answer", "people", "challenge", "raw", "lmms"),
    [
        # All equal: the challenge's evaluation compares as it stands.
        ("Yes", "yes", 1.0, 0.0, 1.0),
        ("yes", "yes", 1.0, 1.0, 1.0),
        ("yes.", "yes", 1.0, 0.0, 1.0),
        ("two", "2", 1.0, 0.0, 1.0),
        ("2", "two", 0.0, 0.0, 1.0),
        ("the cat", "the cat", 0.0, 1.0, 1.0),  # the processor took the article off
        (" yes\n", "yes", 1.0, 1.0, 1.0),
        ("yes", "yes\t", 1.0, 1.0, 1.0),
        ("dont", "don't", 1.0, 0.0, 1.0),
    ],
)
def test_ten_equal_answers(
    answer: str, people: str, challenge: float, raw: float, lmms: float
) -> None:
    for rule, expected in zip(RULES, (challenge, raw, lmms), strict=True):
        assert vqa_accuracy(answer, [people] * 10, rule) == expected, rule


def test_vizwiz_counts_unanswerable_as_an_answer() -> None:
    scorer = load_task("vizwiz").load_scorer()
    asked = sample(
        choices=("unanswerable", "no"), answer=0, wording="unanswerable",
        subject="unanswerable", references=("unanswerable",) * 8 + ("no", "dog"),
    )  # fmt: skip
    assert scorer.credit("Unanswerable", asked) == 1.0
    assert scorer.credit("No.", asked) == pytest.approx(0.3)
    assert scorer.columns(asked) == ("unanswerable",)


def test_vizwiz_by_lmms_eval_reads_both_sides_with_the_processor() -> None:
    asked = sample(choices=("man's",), references=("man's",) * 10, wording="unanswerable")
    by = {rule: load_task("vizwiz").load_scorer(rule).credit("man's", asked) for rule in RULES}
    assert by == {"challenge": 0.0, "raw": 1.0, "lmms-eval": 1.0}


words = st.text(st.sampled_from("aAbn1,.'- !?\n\u00e9"), max_size=8)


@given(words, st.lists(words, min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_accuracy_is_a_share_and_blind_to_order(
    answer: str, people: list[str], rng: random.Random
) -> None:
    for rule in RULES:
        found = vqa_accuracy(answer, people, rule)
        assert 0.0 <= found <= 1.0
        assert vqa_accuracy(answer, rng.sample(people, len(people)), rule) == found
        grown = vqa_accuracy(answer, [*people, *people], rule)
        assert grown >= found - 1e-12  # more people, same shares: leaving one out costs less


@given(words)
def test_normalising_leaves_no_capitals_and_single_blanks(text: str) -> None:
    found = normalised(text)
    assert found == " ".join(found.lower().split())
