"""Several processes put their answers together into the file that one would have written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qvlm.errors import DataError, OutputError
from qvlm.evaluation import evaluate
from qvlm.evaluation.answers import AnswersFile, read_answers
from qvlm.evaluation.ask import batches_of
from qvlm.workers import Group, joined_workers
from tiny.scienceqa import sample
from tiny.scripted import Scripted

SAMPLES = [sample(str(n), question="why? " * (1 + n % 5)) for n in range(20)]


def run(path: Path, **options: object):
    return evaluate(
        Scripted(), SAMPLES, batch_size=4, model_fingerprint="m", answers=path, **options,
    )  # type: ignore[arg-type]  # fmt: skip


def part_of(path: Path, rank: int, count: int) -> None:
    """Leaves what process `rank` of `count` would, killed before the end."""
    run(path.with_name("whole"))
    header = path.with_name("whole").read_bytes().splitlines()[0]
    fingerprint = json.loads(header)["fingerprint"]
    answers = read_answers(path.with_name("whole"))
    keys = [s.key for b in list(batches_of(SAMPLES, 4))[rank::count] for s in b]
    with AnswersFile(path.with_name(f"{path.name}.part-{rank}"), fingerprint) as kept:
        kept.append((key, answers[key]) for key in keys)


def test_parts_of_killed_processes_are_taken_up(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    part_of(path, 0, 3)
    part_of(path, 2, 3)
    generator = Scripted()
    scores = evaluate(generator, SAMPLES, batch_size=4, model_fingerprint="m", answers=path)
    assert scores.resumed == 12  # batches 0, 3 and 2 of five
    assert sum(map(len, generator.batches)) == 8
    assert not list(tmp_path.glob("answers.part-*"))
    assert read_answers(path) == read_answers(tmp_path / "whole")


def test_all_parts_give_the_bytes_of_one_process(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    for rank in range(3):
        part_of(path, rank, 3)
    run(path)
    assert path.read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_part_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    with AnswersFile(path.with_name("answers.part-1"), {"model": "n"}) as kept:
        kept.append([("test/1", "A")])
    with pytest.raises(OutputError, match="part-1' are of another run: batch_size is None"):
        run(path)
    assert path.with_name("answers.part-1").exists()


def test_a_torn_header_of_a_part_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "answers"
    path.with_name("answers.part-0").write_bytes(b'{"qvlm_answers": 1, "fing')
    assert run(path).resumed == 0


def test_shares_are_a_partition() -> None:
    shares = [Group(rank, 3).share(range(10)).values() for rank in range(3)]
    assert sorted(item for share in shares for item in share) == list(range(10))


def test_several_processes_need_a_file() -> None:
    with pytest.raises(OutputError, match="several processes need a file"):
        evaluate(Scripted(), SAMPLES, model_fingerprint="m", workers=Group(0, 2))


@pytest.mark.parametrize(("rank", "count"), [("2", "2"), ("x", "2"), ("-1", "2")])
def test_an_unusable_environment(monkeypatch: pytest.MonkeyPatch, rank: str, count: str) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", count)
    with pytest.raises(DataError, match="start with torchrun"), joined_workers():
        pass
