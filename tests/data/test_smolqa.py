"""The source `smolqa`: written once, read as samples, asked as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from qvlm.data import answer_text, open_source, task_of, user_text
from qvlm.errors import DataError
from qvlm.reference.smolqa import write
from tiny.fashion import write_fashion


@pytest.fixture(scope="module")
def fashion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_fashion(tmp_path_factory.mktemp("fashion"))


@pytest.fixture
def spec(fashion: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("QVLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(write, "SIZES", {"train": 20, "val": 20, "test": 40})
    return f"smolqa:{fashion}"


def test_samples_are_asked_in_words_or_with_choices(spec: str) -> None:
    samples = open_source(spec, "test")
    assert len(samples) == 40
    assert {sample.subject for sample in samples} == {"clothing", "attributes", "choice"}
    for sample in samples:
        assert sample.image is not None
        assert sample.image.is_file()
        assert sample.open == (sample.subject != "choice")
        if sample.open:
            assert user_text(sample, True) == f"<image>\n{sample.question}"
            assert answer_text(sample) == sample.choices[sample.answer]
        else:
            assert user_text(sample, True).endswith("given choices directly.")
            assert answer_text(sample) in "ABCD"


def test_a_second_reading_gives_the_same_and_writes_nothing(spec: str, tmp_path: Path) -> None:
    first = open_source(spec, "val")
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")}
    assert open_source(spec, "val") == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*")} == files


def test_keys_and_fingerprints_of_splits_are_disjoint(spec: str) -> None:
    splits = [open_source(spec, split) for split in ("train", "val", "test")]
    prints = [sample.fingerprint for samples in splits for sample in samples]
    assert len(set(prints)) == len(prints) == 80


def test_the_task_follows_the_data(spec: str) -> None:
    assert task_of(spec) == task_of("smolqa") == "smolqa"
    assert task_of("picoscience") == task_of("scienceqa:smolqa") == "scienceqa"


def test_mistakes_get_one_line(spec: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no split 'tset'.*did you mean 'test'"):
        open_source(spec, "tset")
    with pytest.raises(DataError, match="dataset-fashion-mnist"):
        open_source(f"smolqa:{tmp_path}", "test")
    with pytest.raises(DataError, match="lacks its path"):
        open_source("smolqa:", "test")


def test_a_damaged_copy_says_what_to_remove(spec: str) -> None:
    image = open_source(spec, "train")[0].image
    assert image is not None
    (image.parent / "questions.json").write_text("[{}]")
    with pytest.raises(DataError, match="remove"):
        open_source(spec, "train")
