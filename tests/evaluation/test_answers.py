from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest

from qvlm.errors import ArtefactError, OutputError
from qvlm.evaluation.answers import AnswersFile, read_answers

PRINT: dict[str, str | int | bool | None] = {"model": "m", "task": "t", "batch_size": 2}


def write(path: Path, *answers: tuple[str, str]) -> bytes:
    with AnswersFile(path, PRINT) as kept:
        kept.append(answers)
    return path.read_bytes()


def test_format_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "answers.jsonl"
    write(path, ("test/1", "B"), ("test/2", 'é "\n\ud800'))
    lines = [json.loads(line) for line in path.read_text("ascii").splitlines()]
    assert lines[0] == {"qvlm_answers": 1, "fingerprint": PRINT}
    assert lines[1] == {"id": "test/1", "text": "B"}
    assert read_answers(path) == {"test/1": "B", "test/2": 'é "\n\ud800'}


def test_any_cut_resumes_to_the_same_file(tmp_path: Path) -> None:
    answers = [("test/1", "B"), ("test/2", "A"), ("test/3", "The answer is C.")]
    path = tmp_path / "answers.jsonl"
    whole = write(path, *answers)
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        with AnswersFile(path, PRINT) as kept:
            kept.append([(key, text) for key, text in answers if key not in kept.answers])
        assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("changed", "field"),
    [({"model": "n"}, "model is 'm' there and 'n' here"), ({"new": 1}, "new is None there")],
)
def test_another_run_is_refused_and_left_alone(
    tmp_path: Path, changed: dict[str, str | int], field: str
) -> None:
    path = tmp_path / "answers.jsonl"
    before = write(path, ("test/1", "B")) + b'{"id": "torn'
    path.write_bytes(before)
    with pytest.raises(OutputError, match=field):
        AnswersFile(path, {**PRINT, **changed})
    assert path.read_bytes() == before


HEADER = json.dumps({"qvlm_answers": 1, "fingerprint": PRINT}).encode() + b"\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"my diary", "is not a file of answers"),
        (b"my diary\n", "is not a file of answers"),
        (b"{}\n", "is not a file of answers"),
        (b"\xff\xfe\n", "is not a file of answers"),
        (b'{"qvlm_answers": 2, "fingerprint": {}}\n', "are of format 2, this qvlm reads 1"),
        (b'{"qvlm_answers": 1}\n', "no fingerprint in line 1"),
        (HEADER + b"{\n", "corrupt in line 2"),
        (HEADER + b'{"id": "a", "text": "A"}\n[]\n', "corrupt in line 3"),
        (HEADER + b'{"id": "a"}\n', "corrupt in line 2"),
        (HEADER + b'{"id": "a", "text": "A"}\n' * 2, "corrupt in line 3"),
        (HEADER + b"[" * 100_000 + b"\n", "corrupt in line 2"),
    ],
)
def test_a_strange_file_is_refused_and_left_alone(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "answers.jsonl"
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match=message):
        AnswersFile(path, PRINT)
    with pytest.raises(ArtefactError, match=message):
        read_answers(path)
    assert path.read_bytes() == content


def test_two_writers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    with AnswersFile(path, PRINT), pytest.raises(OutputError, match="written by another process"):
        AnswersFile(path, PRINT)
    write(path, ("test/1", "B"))


def test_places_that_cannot_be_written_or_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write answers"):
        AnswersFile(tmp_path / "file" / "answers.jsonl", PRINT)
    for place in (tmp_path, Path("/dev/full")):
        with pytest.raises(OutputError, match="it is not a file"):
            AnswersFile(place, PRINT)
    with pytest.raises(ArtefactError, match="do not exist"):
        read_answers(tmp_path / "missing")


def test_a_full_disk_is_one_clear_line_and_loses_one_answer(tmp_path: Path) -> None:
    path = tmp_path / "answers.jsonl"
    answers = [("test/1", "B"), ("test/2", "A")]
    whole = write(path, *answers)
    path.unlink()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = AnswersFile(path, PRINT)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) - 5, hard))
    try:
        with kept, pytest.raises(OutputError, match=r"cannot write answers .*: File too large"):
            kept.append(answers)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == whole[:-5]
    assert read_answers(path) == {"test/1": "B"}
    assert write(path, ("test/2", "A")) == whole
