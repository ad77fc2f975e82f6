from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qvlm.data import open_source
from qvlm.data.sources.scienceqa import read
from qvlm.errors import DataError, ImageError
from tiny.scienceqa import edit_problem, write_scienceqa


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_scienceqa(tmp_path / "ScienceQA")


def test_reads_a_split_in_its_own_order(root: Path) -> None:
    samples = read(root, "test")
    assert [s.id for s in samples] == ["1", "2", "3", "4", "5", "6"]
    first = samples[0]
    assert first.choices == ("the first", "the second", "the third")
    assert (first.answer, first.hint, first.subject) == (1, "Magnets pull iron.", "natural science")
    assert (first.grade, first.topic, first.key) == ("grade2", "things", "test/1")
    assert first.image is not None and first.image.is_file()
    assert samples[2].image is None


def test_a_mini_split_keeps_the_split_that_owns_the_sample(root: Path) -> None:
    assert [s.key for s in read(root, "minitest")] == ["test/1", "test/3"]


def test_json_files_may_lie_in_data_scienceqa(root: Path) -> None:
    nested = root / "data" / "scienceqa"
    nested.mkdir(parents=True)
    for name in ("problems.json", "pid_splits.json"):
        (root / name).rename(nested / name)
    beside = read(root, "test")
    (root / "images").rename(nested / "images")
    inside = read(root, "test")
    assert [s.id for s in beside] == [s.id for s in inside]
    assert inside[0].image is not None and nested.resolve() in inside[0].image.parents


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"answer": ...}, DataError, "question '1': field 'answer' is missing"),
        ({"hint": ...}, DataError, "field 'hint' is missing"),
        ({"image": ...}, DataError, "field 'image' is missing"),
        ({"question": 3}, DataError, "field 'question' is not a text"),
        ({"choices": "ab"}, DataError, "field 'choices' is not a list of texts"),
        ({"choices": ["only"]}, DataError, "it has 1 choices, 2 to 26 are usable"),
        ({"choices": ["x"] * 27}, DataError, "it has 27 choices"),
        ({"answer": 3}, DataError, "answer 3 is not the index of one of 3 choices"),
        ({"answer": -1}, DataError, "answer -1 is not the index"),
        ({"answer": True}, DataError, "field 'answer' is not an index"),
        ({"answer": "B"}, DataError, "field 'answer' is not an index"),
        ({"image": 3}, DataError, "field 'image' is neither null nor a file name"),
        ({"image": ""}, DataError, "field 'image' is neither null nor a file name"),
        ({"image": "../2/image.png"}, ImageError, "is not a plain name, so its image is refused"),
        ({"image": "/etc/passwd"}, ImageError, "is not a plain name"),
        ({"image": ".."}, ImageError, "is not a plain name"),
        ({"image": "a\0b"}, ImageError, "is not a plain name"),
        ({"split": "../test"}, ImageError, "is not a plain name"),
        ({"image": "other.png"}, ImageError, "other.png' does not exist: download the images"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else None,
)
def test_a_broken_question_is_named(
    root: Path, changes: dict[str, Any], error: type[DataError], message: str
) -> None:
    edit_problem(root, "1", **changes)
    with pytest.raises(error, match=re.escape(message)) as caught:
        read(root, "test")
    assert "'1'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_symlink_out_of_the_images_folder_is_refused(root: Path) -> None:
    image = root / "images" / "test" / "1" / "image.png"
    outside = root.parent / "secret.png"
    image.rename(outside)
    image.symlink_to(outside)
    with pytest.raises(ImageError, match="links to outside"):
        read(root, "test")


def test_the_images_folder_itself_may_be_a_link(root: Path) -> None:
    (root / "images").rename(root.parent / "elsewhere")
    (root / "images").symlink_to(root.parent / "elsewhere")
    assert len(read(root, "test")) == 6


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("tset", "has no split 'tset' (did you mean 'test'?): it has minitest, test, train"),
        ("train", "split 'train' is empty"),
        ("bad", "split 'bad' is not a list of ids"),
        ("twice", "split 'twice' lists '1' twice"),
        ("lost", "question '99': it is in pid_splits.json but not in problems.json"),
    ],
)
def test_a_broken_split_is_named(root: Path, split: str, message: str) -> None:
    path = root / "pid_splits.json"
    if split != "tset":
        splits = {**json.loads(path.read_text()), "bad": [1], "twice": ["1", "1"], "lost": ["99"]}
        path.write_text(json.dumps(splits))
    with pytest.raises(DataError, match=re.escape(message)):
        read(root, split)


@pytest.mark.parametrize("name", ["problems.json", "pid_splits.json"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not JSON: .* in line 1"),
        (b"", "is not JSON"),
        (b"\xff\xfe{}", "is not JSON in UTF-8"),
        (b"[" * 200_000, "is not JSON"),
        (b"[]", "holds a list where an object is expected"),
    ],
    ids=["torn", "empty", "not UTF-8", "too deep", "list"],
)
def test_a_broken_file_is_named(root: Path, name: str, content: bytes, message: str) -> None:
    (root / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read(root, "test")
    assert name in str(caught.value)


def test_a_question_that_is_no_object_is_named(root: Path) -> None:
    (root / "problems.json").write_text('{"1": []}')
    with pytest.raises(DataError, match="question '1': it is a list, not an object"):
        read(root, "test")


def test_missing_folder_and_missing_file(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere' is not a directory"):
        read(tmp_path / "nowhere", "test")
    (root / "pid_splits.json").unlink()
    with pytest.raises(DataError, match=r"has no pid_splits\.json"):
        read(root, "test")


def test_open_source_forms(root: Path) -> None:
    assert open_source(f"scienceqa:{root}", "test") == open_source(str(root), "test")


def test_the_bundled_set(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qvlm.reference.picoscience.default_dataset", lambda: root)
    bundled = open_source("picoscience", "test")
    assert bundled == [replace(sample, wording="letter") for sample in read(root, "test")]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "sciencqa:/data",
            "(did you mean 'scienceqa'?): give 'picoscience', 'smolqa', a directory that holds",
        ),
        ("scienceqa:", "lacks its path: write 'scienceqa:/path'"),
        ("scienceqa:/nowhere", "'/nowhere' is not a directory"),
        ("picosience", "(did you mean 'picoscience'?)"),
        ("", "data source '' is unknown"),
    ],
)
def test_an_unusable_specification_says_which_forms_work(spec: str, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        open_source(spec, "test")


def test_importing_data_is_lean() -> None:
    code = (
        "import sys, qvlm.data; "
        "sys.exit(' '.join({'torch', 'transformers', 'PIL'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
