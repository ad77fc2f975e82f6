"""PicoScience: format, determinism, disjoint splits, honest answers."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qvlm.errors import DataError, OutputError
from qvlm.reference.picoscience import (
    DATASET_VERSION,
    FAMILIES,
    Problem,
    default_dataset,
    family_stream,
    generate,
    write_dataset,
)
from qvlm.reference.picoscience.draw import COLOURS
from qvlm.reference.picoscience.write import check_disjoint

FIELDS = {
    "question", "choices", "answer", "hint", "image", "task", "grade", "subject", "topic",
    "category", "skill", "lecture", "solution", "split",
}  # fmt: skip
SUBJECTS = {"natural science", "social science", "language science"}


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    return generate("test", 1150, seed=0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data") / "pico"
    write_dataset(directory, train=69, val=46, test=23, seed=7)
    return directory


def test_files_follow_the_scienceqa_layout(dataset: Path) -> None:
    records = json.loads((dataset / "problems.json").read_text())
    splits = json.loads((dataset / "pid_splits.json").read_text())
    assert {name: len(pids) for name, pids in splits.items()} == {
        "train": 69, "val": 46, "test": 23,
    }  # fmt: skip
    assert sorted(records) == sorted(pid for pids in splits.values() for pid in pids)
    for split, pids in splits.items():
        for pid in pids:
            entry = records[pid]
            assert set(entry) == FIELDS
            assert entry["split"] == split
            assert entry["subject"] in SUBJECTS
            assert entry["task"] == "closed choice"
            assert entry["grade"] in {f"grade{number}" for number in range(1, 13)}
            assert 0 <= entry["answer"] < len(entry["choices"])
            picture = dataset / "images" / split / pid / "image.png"
            assert picture.exists() == (entry["image"] == "image.png")
            if picture.exists():
                with Image.open(picture) as image:
                    assert (image.size, image.mode) == ((112, 112), "RGB")


def test_same_seed_gives_the_same_bytes(dataset: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    write_dataset(again, train=69, val=46, test=23, seed=7)
    names = sorted(path.relative_to(dataset) for path in dataset.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    for name in names:
        assert (dataset / name).read_bytes() == (again / name).read_bytes(), name


def test_another_seed_gives_other_questions() -> None:
    first = {problem.content_hash() for problem in generate("test", 44, seed=0)}
    second = {problem.content_hash() for problem in generate("test", 44, seed=1)}
    assert len(first & second) < 5


def test_a_smaller_split_is_a_prefix() -> None:
    small = generate("train", 44, seed=3)
    large = generate("train", 110, seed=3)
    assert [p.content_hash() for p in small] == [p.content_hash() for p in large[:44]]


def test_writing_never_overwrites(dataset: Path) -> None:
    before = (dataset / "problems.json").read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        write_dataset(dataset, train=1, val=1, test=1, seed=0)
    assert (dataset / "problems.json").read_bytes() == before


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("qvlm.reference.picoscience.write._fill", fail)
    with pytest.raises(OutputError, match="No space left"):
        write_dataset(tmp_path / "pico", train=1, val=1, test=1, seed=0)
    assert list(tmp_path.iterdir()) == []


def test_default_copy_is_cached_and_a_lost_race_is_fine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QVLM_CACHE", str(tmp_path))
    sizes = {"train": 23, "val": 23, "test": 23}
    monkeypatch.setattr("qvlm.reference.picoscience.write.DEFAULT_SIZES", sizes)
    target = tmp_path / f"picoscience-{DATASET_VERSION}"

    def lose(directory: Path, **_: int) -> None:
        write_dataset(directory, **sizes, seed=0)
        raise OutputError("the other process was first")

    monkeypatch.setattr("qvlm.reference.picoscience.write.write_dataset", lose)
    assert default_dataset() == target
    stamp = (target / "problems.json").stat().st_mtime_ns
    assert default_dataset() == target
    assert (target / "problems.json").stat().st_mtime_ns == stamp


def test_splits_are_disjoint_by_content(problems: list[Problem]) -> None:
    splits = {"test": problems, "train": generate("train", 2200, 0), "val": generate("val", 440, 0)}
    check_disjoint(splits)
    with pytest.raises(DataError, match="both"):
        check_disjoint({"train": problems[:1], "test": problems[:1]})


def test_no_question_repeats_within_a_split(problems: list[Problem]) -> None:
    assert len({problem.content_hash() for problem in problems}) == len(problems)


def test_families_subjects_and_contexts_are_covered(problems: list[Problem]) -> None:
    assert len(FAMILIES) >= 14
    pictured = {problem.family for problem in problems if problem.image}
    assert len(pictured) * 2 >= len(FAMILIES)
    cells = Counter(
        (problem.subject, bool(problem.hint), problem.image is not None) for problem in problems
    )
    for subject in SUBJECTS:
        for hint, image in ((True, False), (False, True), (False, False)):
            if (subject, hint, image) != ("natural science", False, False):
                assert cells[subject, hint, image] > 0, (subject, hint, image)
    assert any(hint and image for _, hint, image in cells)


def test_correct_positions_are_uniform() -> None:
    """Chi-squared of the answer's position, per number of choices, over all families."""
    counts: dict[int, Counter[int]] = {}
    for problem in generate("train", 4400, seed=0):
        counts.setdefault(len(problem.choices), Counter())[problem.answer] += 1
    for choices, found in counts.items():
        expected = sum(found.values()) / choices
        statistic = sum((found[i] - expected) ** 2 / expected for i in range(choices))
        assert statistic < 16.3, (choices, found)


def test_choices_differ_and_are_few(problems: list[Problem]) -> None:
    for problem in problems:
        assert len(set(problem.choices)) == len(problem.choices)
        assert 2 <= len(problem.choices) <= 4


def test_words_do_not_tell_the_answer_to_a_picture() -> None:
    """The best guess from question, hint and the set of choices is right no more than by luck."""
    for family in FAMILIES:
        stream = family_stream(family, "train", 600, seed=11)
        if stream[0].image is None:
            continue
        likely: dict[str, Counter[str]] = {}
        for problem in stream[:400]:
            words = likely.setdefault(problem.question.split()[0], Counter())
            words[problem.choices[problem.answer]] += 1
        right, chance = 0, 0.0
        for problem in stream[400:]:
            words = likely.get(problem.question.split()[0], Counter())
            guess = max(problem.choices, key=lambda choice: words[choice])
            right += guess == problem.choices[problem.answer]
            chance += 1 / len(problem.choices)
        assert right - chance < 4 * (200 * 0.25) ** 0.5, family


def _close_to(image: Image.Image, name: str) -> np.ndarray:
    """Returns which pixels have the named colour, bool [112, 112]."""
    pixels = np.asarray(image).astype(int)
    names = list(COLOURS)
    palette = np.array([COLOURS[other] for other in names])
    distance = ((pixels[:, :, None, :] - palette) ** 2).sum(-1)
    near = distance.min(-1) < 3600
    return near & (distance.argmin(-1) == names.index(name))


def _blobs(mask: np.ndarray, smallest: int) -> int:
    """Returns the number of 4-connected regions of at least `smallest` pixels."""
    todo = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    found = 0
    while todo:
        frontier, size = [todo.pop()], 0
        while frontier:
            y, x = frontier.pop()
            size += 1
            for near in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                if near in todo:
                    todo.remove(near)
                    frontier.append(near)
        found += size >= smallest
    return found


def test_counted_cells_are_in_the_picture() -> None:
    numbers = ["none", "one", "two", "three", "four"]
    for problem in family_stream("count", "test", 60, seed=5):
        assert problem.image is not None
        found = max(_blobs(_close_to(problem.image, name), smallest=60) for name in COLOURS)
        assert problem.choices[problem.answer] == numbers[found]


def test_the_fuller_beaker_has_more_colour() -> None:
    for problem in family_stream("beakers", "test", 60, seed=5):
        assert problem.image is not None
        masks = [_close_to(problem.image, name) for name in ("red", "blue", "green", "purple")]
        mask = max(masks, key=lambda candidate: int(candidate.sum()))
        side = "left" if mask[:, :56].sum() > mask[:, 56:].sum() else "right"
        assert problem.choices[problem.answer] == f"{side} beaker"


def test_the_bars_do_what_the_answer_says() -> None:
    for problem in family_stream("bar_chart", "test", 40, seed=5):
        assert problem.image is not None
        masks = [_close_to(problem.image.crop((0, 0, 112, 96)), name) for name in COLOURS]
        heights = max(masks, key=lambda candidate: int(candidate.sum())).sum(0)
        bars = heights[heights > 0]
        change = int(bars[-8:].mean()) - int(bars[:8].mean())
        found = "steady" if abs(change) < 15 else "rising" if change > 0 else "falling"
        assert problem.choices[problem.answer] == found


def test_the_adjective_is_the_colour() -> None:
    for problem in family_stream("adjective", "test", 60, seed=5):
        assert problem.image is not None
        areas = {name: int(_close_to(problem.image, name).sum()) for name in COLOURS}
        assert problem.choices[problem.answer] == max(areas, key=lambda name: areas[name])


def test_text_answers_follow_from_the_text() -> None:
    for problem in family_stream("conversion", "test", 80, seed=5):
        factor = int(next(word for word in problem.hint.split()[::-1] if word.isdigit()))
        value = int(next(word for word in problem.question.split() if word.isdigit()))
        assert problem.choices[problem.answer] == str(value * factor)
    for problem in family_stream("food_chain", "test", 80, seed=5):
        told = [line.split() for line in problem.hint.rstrip(".").split(". ")]
        food_of = {words[1]: words[4] for words in told}
        known = problem.question.rstrip("?").split()
        correct = (
            food_of[known[-2]]
            if known[-1] == "eat"
            else next(eater for eater, food in food_of.items() if food == known[-1])
        )
        assert problem.choices[problem.answer] == correct
