"""The questions in words: wordings, facts, determinism and splits that share no picture."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import pytest

from qvlm.reference.picoscience import family_stream
from qvlm.reference.prompts import LETTERS
from qvlm.reference.smolqa.attributes import ANSWERS, FAMILIES, facts_of
from qvlm.reference.smolqa.clothing import Clothing, read_clothing
from qvlm.reference.smolqa.draw import CYCLE, Asked, draw_questions
from qvlm.reference.smolqa.phrasings import PHRASINGS
from qvlm.reference.smolqa.questions import drill
from tiny.fashion import write_fashion

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def clothing(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Clothing]:
    folder = write_fashion(tmp_path_factory.mktemp("fashion"))
    return {split: read_clothing(folder, split) for split in SPLITS}


@pytest.fixture(scope="module")
def asked(clothing: dict[str, Clothing]) -> dict[str, list[Asked]]:
    return {split: draw_questions(clothing[split], split, 80, seed=0) for split in SPLITS}


@pytest.mark.parametrize("kind", list(ANSWERS))
def test_eight_wordings_or_more_that_give_nothing_away(kind: str) -> None:
    wordings = PHRASINGS[kind]
    assert len(set(wordings)) == len(wordings) >= 8
    for wording in wordings:
        words = set(re.findall(r"[a-z-]+", wording.lower()))
        assert not words & set(ANSWERS[kind]), wording


def test_every_kind_has_wordings_and_no_other() -> None:
    assert set(PHRASINGS) == set(ANSWERS)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_facts_are_answers_and_every_answer_occurs(family: str) -> None:
    facts = [facts_of(problem) for problem in family_stream(family, "train", 60, 0)]
    for kind in facts[0]:
        assert {row[kind] for row in facts} == set(ANSWERS[kind])


def test_same_seed_same_questions_and_a_smaller_count_is_a_prefix(clothing, asked) -> None:
    again = draw_questions(clothing["val"], "val", 80, seed=0)
    assert again == asked["val"]
    assert draw_questions(clothing["val"], "val", 30, seed=0) == again[:30]
    assert draw_questions(clothing["val"], "val", 80, seed=1) != again


def test_no_picture_is_asked_about_twice_in_any_split(asked) -> None:
    pictures = [one.picture.tobytes() for split in SPLITS for one in asked[split]]
    assert len(set(pictures)) == len(pictures)


def test_photographs_of_train_and_val_are_disjoint_parts_of_one_file(clothing) -> None:
    train, val = ({image.tobytes() for image in clothing[s].images} for s in ("train", "val"))
    assert len(train) + len(val) == 2_060
    assert not train & val


def test_groups_keep_their_shares(asked) -> None:
    counts = Counter(one.group for one in asked["test"])
    assert counts == {"clothing": 40, "attributes": 28, "choice": 12}
    assert len(CYCLE) == 20


def test_replies_are_the_answers_or_their_letters(asked) -> None:
    for one in asked["train"]:
        question = one.question
        if question.open:
            assert question.prompt == question.text
            assert question.reply == ANSWERS[question.kind][question.answer]
        else:
            line = f"{question.reply}. {question.choices[question.answer]}"
            assert line in question.prompt.splitlines()
            assert question.reply in LETTERS


@pytest.mark.parametrize("most", [2, 3, 4])
def test_a_drill_names_its_answer(most: int) -> None:
    rng = random.Random(0)
    for _ in range(50):
        question = drill(rng, most)
        assert question.text == f"Which option is {question.choices[question.answer]}?"
        assert len(set(question.choices)) == len(question.choices) <= most


def test_a_photograph_is_asked_about_with_its_own_label(tmp_path: Path, clothing, asked) -> None:
    labels = {
        clothing["test"].picture(i).tobytes(): clothing["test"].garment(i)
        for i in range(len(clothing["test"]))
    }
    garments = [one for one in asked["test"] if one.question.kind == "garment"]
    assert garments
    for one in garments:
        assert one.question.choices[one.question.answer] == labels[one.picture.tobytes()]
