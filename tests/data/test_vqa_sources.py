"""VQAv2 and VizWiz in their authors' layouts and as parquet, checked by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from qvlm.data import answer_text, open_source, task_of, user_text
from qvlm.data.images import open_image
from qvlm.errors import DataError, ImageError
from tiny.vqa import TEN, encoded, people, write_parquet, write_vizwiz, write_vqav2

QUESTIONS = "v2_OpenEnded_mscoco_val2014_questions.json"
ANNOTATIONS = "v2_mscoco_val2014_annotations.json"
SHORT = "Answer the question using a single word or phrase."


@pytest.fixture
def vqav2(tmp_path: Path) -> Path:
    return write_vqav2(tmp_path / "vqav2")


@pytest.fixture
def vizwiz(tmp_path: Path) -> Path:
    return write_vizwiz(tmp_path / "vizwiz")


def test_vqav2_by_hand(vqav2: Path) -> None:
    samples = open_source(f"vqav2:{vqav2}", "val")
    assert [(s.key, s.subject, s.topic) for s in samples] == [
        ("val/200", "other", "what"),
        ("val/201", "yes/no", "what"),
        ("val/202", "number", "what"),
    ]
    first = samples[0]
    assert first.references == tuple(TEN)
    assert answer_text(first) == "red"
    assert first.image == vqav2 / "val2014" / "COCO_val2014_000000000007.jpg"
    assert user_text(first, True) == f"<image>\nWhat color?\n{SHORT}"
    assert task_of(f"vqav2:{vqav2}") == "vqav2"
    assert len({sample.fingerprint for sample in samples}) == 3


def test_the_files_may_lie_in_folders(vqav2: Path) -> None:
    plain = open_source(f"vqav2:{vqav2}", "val")
    for folder, pattern in (("questions", "*questions.json"), ("annotations", "*annotations.json")):
        (vqav2 / folder).mkdir()
        for path in list(vqav2.glob(pattern)):
            path.rename(vqav2 / folder / path.name)
    (vqav2 / "images").mkdir()
    (vqav2 / "val2014").rename(vqav2 / "images" / "val2014")
    moved = open_source(f"vqav2:{vqav2}", "val")
    assert [s.fingerprint for s in moved] == [s.fingerprint for s in plain]


def test_a_split_without_answers(vqav2: Path) -> None:
    (sample,) = open_source(f"vqav2:{vqav2}", "test-dev")
    assert (sample.answer, sample.references, sample.choices) == (None, (), ())
    assert str(sample.image).endswith("test2015/COCO_test2015_000000000003.jpg")
    with pytest.raises(DataError, match="test-dev/9 has no public answer"):
        answer_text(sample)


def test_vizwiz_by_hand(vizwiz: Path) -> None:
    samples = open_source(f"vizwiz:{vizwiz}", "val")
    assert [(s.id, s.subject, answer_text(s)) for s in samples] == [
        ("VizWiz_val_00000000.jpg", "other", "box"),
        ("VizWiz_val_00000001.jpg", "unanswerable", "unanswerable"),
    ]
    assert user_text(samples[0], False) == (
        "What is this\nWhen the provided information is insufficient, respond with "
        f"'Unanswerable'.\n{SHORT}"
    )
    assert open_source(f"vizwiz:{vizwiz}", "test")[0].answer is None


def test_parquet_gives_the_same_samples(vqav2: Path, tmp_path: Path) -> None:
    originals = open_source(f"vqav2:{vqav2}", "val")
    rows = [
        {
            "question_id": int(s.id),
            "question": s.question,
            "question_type": s.topic,
            "answer_type": s.subject,
            "answers": people(list(s.references)),
            "image": encoded(n),
        }
        for n, s in enumerate(originals)
    ]
    for number, part in enumerate((rows[:2], rows[2:])):
        write_parquet(tmp_path / f"hub/data/val-{number:05d}-of-00002.parquet", part, group=1)
    stored = open_source(f"vqav2:{tmp_path / 'hub'}", "val")
    assert [s.fingerprint for s in stored] == [s.fingerprint for s in originals]
    for number, sample in enumerate(stored):
        assert sample.image is not None
        assert open_image(sample.image, 10_000).size == (36 + number, 34)
    with pytest.raises(DataError, match=r"no split 'tset'.*it has val"):
        open_source(f"vqav2:{tmp_path / 'hub'}", "tset")


def test_vizwiz_parquet_with_plain_answers(tmp_path: Path) -> None:
    row = {"question_id": "a.jpg", "question": "what?", "category": "other", "image": encoded(1)}
    write_parquet(tmp_path / "val-00000-of-00001.parquet", [{**row, "answers": ["x", "y", "y"]}])
    (sample,) = open_source(f"vizwiz:{tmp_path}", "val")
    assert (sample.subject, sample.references, answer_text(sample)) == (
        "other", ("x", "y", "y"), "y",
    )  # fmt: skip


def edit(path: Path, place: list[Any], value: Any) -> None:
    """Sets a field of a JSON file; `...` deletes it."""
    content = json.loads(path.read_text())
    target = content
    for step in place[:-1]:
        target = target[step]
    if value is ...:
        del target[place[-1]]
    else:
        target[place[-1]] = value
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("file", "place", "value", "message"),
    [
        (QUESTIONS, ["questions", 1, "question"], ..., "question 2: field 'question' is missing"),
        (QUESTIONS, ["questions", 0, "question"], 3, "question 1: field 'question' is not a text"),
        (QUESTIONS, ["questions", 0, "question_id"], 201, "id '201' occurs twice"),
        (QUESTIONS, ["questions", 0, "question_id"], 5, "question_id 5 has no annotation"),
        (QUESTIONS, ["questions", 0, "image_id"], "../7", "field 'image_id' is not a number"),
        (QUESTIONS, ["questions", 0, "image_id"], 9, "COCO_val2014_000000000009.jpg' does not exi"),
        (QUESTIONS, ["questions"], [], "split 'val' is empty"),
        (QUESTIONS, ["questions"], {}, "has no list of questions"),
        (ANNOTATIONS, ["annotations", 0, "answers"], "red", "field 'answers' is not a list"),
        (ANNOTATIONS, ["annotations", 0, "answers", 0], {"a": 1}, "something without a text"),
    ],
)  # fmt: skip
def test_broken_vqav2(vqav2: Path, file: str, place: list[Any], value: Any, message: str) -> None:
    edit(vqav2 / file, place, value)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        open_source(f"vqav2:{vqav2}", "val")
    assert "\n" not in str(caught.value)


def test_missing_files_and_splits(vqav2: Path, vizwiz: Path) -> None:
    with pytest.raises(DataError, match=r"no split 'vla' \(did you mean 'val'\?\)"):
        open_source(f"vqav2:{vqav2}", "vla")
    with pytest.raises(DataError, match=r"has no v2_OpenEnded_mscoco_test2015_questions.json"):
        open_source(f"vqav2:{vqav2}", "test")
    (vqav2 / ANNOTATIONS).unlink()
    with pytest.raises(DataError, match=f"has no {ANNOTATIONS}"):
        open_source(f"vqav2:{vqav2}", "val")
    (vizwiz / "val").rename(vizwiz / "pictures")
    with pytest.raises(ImageError, match="no folder of VizWiz's pictures of split 'val'"):
        open_source(f"vizwiz:{vizwiz}", "val")


@pytest.mark.parametrize("name", ["../train/VizWiz_train_00000000.jpg", "/etc/passwd", "a\\b.jpg"])
def test_an_image_outside_the_folder_is_refused(vizwiz: Path, name: str) -> None:
    edit(vizwiz / "val.json", [0, "image"], name)
    with pytest.raises(ImageError, match=r"question 1.*is not a path below"):
        open_source(f"vizwiz:{vizwiz}", "val")


def test_a_link_out_of_the_folder_is_refused(vizwiz: Path) -> None:
    image = vizwiz / "val" / "VizWiz_val_00000000.jpg"
    image.rename(vizwiz.parent / "secret.jpg")
    image.symlink_to(vizwiz.parent / "secret.jpg")
    with pytest.raises(ImageError, match="links to outside"):
        open_source(f"vizwiz:{vizwiz}", "val")


def test_broken_parquet(tmp_path: Path) -> None:
    file = tmp_path / "val-00000-of-00001.parquet"
    file.write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"cannot read .*val-00000-of-00001.parquet.*download"):
        open_source(f"vizwiz:{tmp_path}", "val")
    write_parquet(file, [{"question_id": "a", "question": "q", "answers": ["x"]}])
    with pytest.raises(DataError, match="has no column 'image': it has question_id, question"):
        open_source(f"vizwiz:{tmp_path}", "val")
    row = {"question_id": "a", "question": "q", "answers": ["x"]}
    write_parquet(file, [{**row, "image": encoded(0)}, {**row, "question_id": "b", "image": None}])
    with pytest.raises(ImageError, match="row group 0, row 1: it has no image"):
        open_source(f"vizwiz:{tmp_path}", "val")


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "val-00000-of-00001.parquet").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(DataError, match=r"pip install 'qvlm\[parquet\]'"):
        open_source(f"vizwiz:{tmp_path}", "val")
