"""Hateful Memes, a folder of one's own, and ScienceQA's other two forms, checked by hand."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qvlm.data import answer_text, choose, open_source, task_of, user_text
from qvlm.data.images import open_image
from qvlm.data.prompts import render
from qvlm.errors import DataError, ImageError
from tiny.llava import tiny_processor
from tiny.scienceqa import write_scienceqa
from tiny.vqa import draw, encoded, write_memes, write_parquet


@pytest.fixture
def memes(tmp_path: Path) -> Path:
    return write_memes(tmp_path / "memes")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    root = tmp_path / "own"
    draw(root / "pictures" / "a.png")
    lines: list[dict[str, Any]] = [
        {"id": "x", "question": "Which?", "choices": ["p", "q"], "answer": 1, "hint": "Look."},
        {"question": "What?", "answer": "a cat", "image": "pictures/a.png", "subject": "animals"},
        {"question": "Who?", "answers": ["Ann", "Anna"]},
        {"question": "Why?"},
    ]
    (root / "train.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    return root


def test_memes_by_hand(memes: Path) -> None:
    samples = open_source(f"hateful_memes:{memes}", "dev_seen")
    assert [(s.key, answer_text(s)) for s in samples] == [
        ("dev_seen/1", "no"), ("dev_seen/2", "yes"), ("dev_seen/3", "no"), ("dev_seen/4", "yes"),
    ]  # fmt: skip
    assert user_text(samples[1], True) == (
        "<image>\nis an image with: 'words 1' written on it. Is it hateful? Answer:"
    )
    assert open_source(f"hateful_memes:{memes}", "val") == samples
    assert open_source(f"hateful_memes:{memes}", "test")[0].answer is None
    assert task_of(f"hateful_memes:{memes}") == "hateful_memes"
    with pytest.raises(DataError, match=r"no split 'dev'.*: it has dev_seen, test_seen, train"):
        open_source(f"hateful_memes:{memes}", "dev")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": 2, "img": "img/dev_seen1.png", "text": "t", "lab', "line 2: not JSON"),
        ("[]", "line 2: a list where an object is expected"),
        ('{"id": 2, "img": "img/dev_seen1.png", "label": 1}', "line 2: field 'text' is missing"),
        ('{"id": 1, "img": "img/dev_seen1.png", "text": "t"}', "id '1' occurs twice"),
        ('{"id": 2, "img": "img/dev_seen1.png", "text": "t", "label": 2}', "neither 0 nor 1"),
        ('{"id": 2, "img": "img/dev_seen1.png", "text": "t", "label": true}', "neither 0 nor 1"),
        ('{"id": 2, "img": "img/no.png", "text": "t"}', "no.png' does not exist"),
        ('{"id": 2, "img": "../a.png", "text": "t"}', "is not a path below"),
        ("[" * 100_000, "line 2: not JSON (too deep or too long)"),
        ("1" * 5_000, "line 2: not JSON (too deep or too long)"),
    ],
)
def test_a_broken_line_is_named(memes: Path, line: str, message: str) -> None:
    path = memes / "dev_seen.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], line]))
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        open_source(f"hateful_memes:{memes}", "dev_seen")
    assert "\n" not in str(caught.value)


def test_a_folder_by_hand(own: Path) -> None:
    samples = open_source(f"folder:{own}", "train")
    assert [(s.id, s.open, s.choices, s.answer) for s in samples] == [
        ("x", False, ("p", "q"), 1),
        ("2", True, ("a cat",), 0),
        ("3", True, ("Ann", "Anna"), 0),
        ("4", True, (), None),
    ]
    assert user_text(samples[0], False).startswith("Look.\nWhich?\nA. p\nB. q\nAnswer with")
    assert user_text(samples[1], True) == "<image>\nWhat?"
    assert samples[1].image == own / "pictures" / "a.png"
    assert task_of(f"folder:{own}") == "exact_match"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"question": "q", "anwser": "x"}, "'anwser' is unknown (did you mean 'answer'?)"),
        ({"question": "q", "choices": ["a"]}, "2 to 26 choices are usable, not 1"),
        ({"question": "q", "choices": ["a", "b"], "answer": 2}, "not the index of one of 2"),
        ({"question": "q", "answers": []}, "field 'answers' is empty"),
        ({"question": "q", "image": "pictures"}, "does not exist"),
        ({"question": "q", "image": "pictures/../../own/pictures/a.png"}, "not a path below"),
        ({"answer": "x"}, "field 'question' is missing"),
    ],
)
def test_a_broken_question_is_named(own: Path, line: dict[str, Any], message: str) -> None:
    (own / "val.jsonl").write_text(json.dumps(line))
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        open_source(f"folder:{own}", "val")
    assert "val.jsonl', line 1" in str(caught.value)


def test_samples_are_drawn_by_seed(memes: Path) -> None:
    samples = open_source(f"hateful_memes:{memes}", "train")
    drawn = [sample.key for sample in choose(samples, 3, seed=5)]
    assert [sample.key for sample in choose(samples[::-1], 3, seed=5)] == drawn


def llava_file(root: Path, name: str, ids: str = "123456") -> Path:
    entries = []
    for pid in ids:
        pictured = pid in "126"
        image = {"image": f"{pid}/image.png"} if pictured else {}
        asked = f"Question: number {pid}?\nOptions: (A) x\n" + ("<image>" if pictured else "")
        turns = [{"from": "human", "value": asked}, {"from": "gpt", "value": f"ANSWER: {pid}."}]
        entries.append({"id": pid, **image, "conversations": turns})
    path = root / name
    path.write_text(json.dumps(entries))
    return path


def test_a_file_of_llavas_gives_the_words(tmp_path: Path) -> None:
    root = write_scienceqa(tmp_path)
    path = llava_file(root, "llava_test_QCM-LEPA.json", "654321")
    samples = open_source(f"scienceqa:{path}", "test")
    plain = {sample.key: sample for sample in open_source(str(root), "test")}
    assert [sample.id for sample in samples] == list("654321")
    for sample in samples:
        assert user_text(sample, False) == f"Question: number {sample.id}?\nOptions: (A) x"
        assert answer_text(sample) == f"ANSWER: {sample.id}."
        original = plain[sample.key]
        assert (sample.fingerprint, sample.image) == (original.fingerprint, original.image)
        assert (sample.wording, original.wording) == ("explanation", "llava-1.5")
    assert render(samples[0], tiny_processor()).count("<image>") == 1


@pytest.mark.parametrize(
    ("ids", "edit", "message"),
    [
        ("12345", None, "holds 5 of the 6 questions of the split"),
        ("1234569", None, "question '9' is not in split 'test'"),
        ("1234566", None, "id '6' occurs twice"),
        ("123456", ["from", "cat"], "not one of 'human' and one of 'gpt'"),
        ("123456", ["value", "no picture"], "disagree on whether question '1' has an image"),
    ],
)
def test_a_file_of_llavas_for_something_else(
    tmp_path: Path, ids: str, edit: list[str] | None, message: str
) -> None:
    path = llava_file(write_scienceqa(tmp_path), "llava.json", ids)
    if edit is not None:
        entries = json.loads(path.read_text())
        entries[0]["conversations"][0][edit[0]] = edit[1]
        path.write_text(json.dumps(entries))
    with pytest.raises(DataError, match=re.escape(message)):
        open_source(f"scienceqa:{path}", "test")


def test_scienceqa_as_parquet(tmp_path: Path) -> None:
    root = write_scienceqa(tmp_path / "original")
    originals = open_source(str(root), "test")
    rows = [
        {
            "image": encoded(n) if s.image is not None else None,
            "question": s.question,
            "choices": list(s.choices),
            "answer": s.answer,
            "hint": s.hint,
            "task": "closed choice",
            "grade": s.grade,
            "subject": s.subject,
            "topic": s.topic,
            "lecture": "A lecture." if n == 0 else "",
            "solution": "So.",
        }
        for n, s in enumerate(originals)
    ]
    write_parquet(tmp_path / "hub" / "data" / "test-00000-of-00001-abc.parquet", rows, group=4)
    samples = open_source(f"scienceqa:{tmp_path / 'hub'}", "test")
    for number, (sample, original) in enumerate(zip(samples, originals, strict=True)):
        assert sample.key == f"test/{number}"
        assert user_text(sample, True) == user_text(original, True)
        assert (sample.image is None) == (original.image is None)
        if sample.image is not None:
            assert open_image(sample.image, 10_000).size == (36 + number, 34)
    assert samples[0].explanation == "LECTURE: A lecture.\nSOLUTION: So.\n"
    with pytest.raises(ImageError, match=r"row group 0, row 0.*more than the cap of 9"):
        open_image(samples[0].image, 9)  # type: ignore[arg-type]


OPTIONS = "Options: (A) the first (B) the second (C) the third"
LETTER = "Answer with the option's letter from the given choices directly."


def test_scienceqa_is_put_as_llava_15_does(tmp_path: Path) -> None:
    first, second = open_source(str(write_scienceqa(tmp_path)), "test")[:2]
    assert user_text(first, True) == (
        f"<image>\nContext: Magnets pull iron.\nQuestion: Which one is right?\n{OPTIONS}\n{LETTER}"
    )
    assert user_text(second, False).startswith("Context: N/A\nQuestion: Which one")
    assert answer_text(first) == "B"
    assert not first.open
    wide = replace(first, question=" Which  one? ", choices=("a  b ", "c"))
    assert "Question: Which one? \nOptions: (A) a b (B) c\nAnswer" in user_text(wide, False)


def test_scienceqa_as_lmms_eval_puts_it(tmp_path: Path) -> None:
    first, second = (
        replace(one, wording="lmms-eval")
        for one in open_source(str(write_scienceqa(tmp_path)), "test")[:2]
    )
    choices = f"A. the first\nB. the second\nC. the third\n{LETTER}"
    assert user_text(first, False) == (
        f"Context: Magnets pull iron.\nWhich one is right?\n{choices}"
    )
    assert user_text(second, False) == f"Which one is right? Think.\n{choices}"
    assert answer_text(first) == "B"


def test_the_wording_with_an_explanation(tmp_path: Path) -> None:
    first, second = open_source(str(write_scienceqa(tmp_path)), "test")[:2]
    put = replace(first, wording="explanation", explanation="SOLUTION: So  so.\n")
    assert user_text(put, True) == (
        f"<image>\nQuestion: Which one is right?\nContext: Magnets pull iron.\n{OPTIONS}"
    )
    assert answer_text(put) == "SOLUTION: So so.\n###\nANSWER: B."
    assert "Context: N/A\n" in user_text(replace(second, wording="explanation"), False)


def test_picoscience_is_put_as_pico_llava_learnt_it() -> None:
    assert {sample.wording for sample in open_source("picoscience", "val")} == {"letter"}
