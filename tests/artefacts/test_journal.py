"""Steps are there whole or not at all, also for the process that comes after."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from qvlm.artefacts.journal import LOG_NAME, Journal


def test_the_next_process_finds_what_was_saved(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.save("a/one.0", {"seen": 3}, {"x": torch.arange(3)})
    journal.save("two", {}, {})
    rows = journal.save_rows("a/one.0.inputs", ((i, {"h": torch.full((2,), i)}) for i in range(3)))
    assert [int(rows[index]["h"][0]) for index in range(3)] == [0, 1, 2]
    journal.drop("two")
    again = Journal(tmp_path)
    assert len(again) == 2
    step = again.recall("a/one.0")
    assert step is not None
    assert (step.info, step.tensors["x"].tolist()) == ({"seen": 3}, [0, 1, 2])
    kept = again.recall_rows("a/one.0.inputs")
    assert kept is not None
    assert int(kept[2]["h"][1]) == 2
    assert again.recall("two") is None
    assert not (tmp_path / "two.safetensors").exists()
    assert again.recalled == 1


def test_a_file_without_a_line_does_not_count(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.save("one", {}, {"x": torch.zeros(1)})
    journal.save("two", {}, {"x": torch.zeros(1)})
    lines = (tmp_path / LOG_NAME).read_bytes().splitlines(keepends=True)
    (tmp_path / LOG_NAME).write_bytes(lines[0] + lines[1][:-5])
    again = Journal(tmp_path)
    assert again.recall("two") is None
    again.save("three", {}, {})
    assert {name for name in ("one", "two", "three") if Journal(tmp_path).recall(name)} == {
        "one", "three",
    }  # fmt: skip


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_file_is_told_of_and_forgotten(tmp_path: Path, damage: str) -> None:
    Journal(tmp_path).save("one", {}, {"x": torch.zeros(4)})
    path = tmp_path / "one.safetensors"
    content = path.read_bytes()
    path.unlink() if damage == "missing" else path.write_bytes(content[:-1] + b"\1")
    journal = Journal(tmp_path)
    with pytest.warns(UserWarning, match="step 'one' is damaged and is done again"):
        assert journal.recall("one") is None
    assert len(Journal(tmp_path)) == 0
