"""`qvlm score`: files of qvlm, LLaVA and the challenges, side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qvlm.artefacts.scores import ScoredAnswers
from tiny.vqa import write_vizwiz, write_vqav2


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """LLaVA's lines: the first file has 1 to 4 right, the second 4 to 6."""
    paths = []
    for name, right in (("fp.jsonl", "1234"), ("q4.jsonl", "456")):
        lines = [
            json.dumps({"question_id": pid, "prompt": "p", "text": "B" if pid in right else "A"})
            for pid in "123456"
        ]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        paths.append(tmp_path / name)
    return paths[0], paths[1]


def test_two_files_side_by_side(qvlm, questions, files, tmp_path):
    output, page = tmp_path / "scores.json", tmp_path / "page.html"
    outcome = qvlm("score", *files, "--data", questions, "--output", output, "--examples", page)
    assert outcome.code == 0, outcome.stderr
    scored = ScoredAnswers.model_validate_json(output.read_text())
    assert [row.overall.correct for row in scored.rows.values()] == [4, 3]
    ((name, difference),) = scored.differences.items()
    assert name == str(files[1])
    assert (difference.only_first, difference.only_second) == (3, 2)
    assert difference.p_value == 1.0
    assert page.read_text().count("<article>") == 5
    assert "66.67" in outcome.stdout and "-16.7" in outcome.stdout


def test_answers_of_evaluate_score_as_evaluate_said(qvlm, tiny_model, questions, tmp_path):
    answers, first, second = (tmp_path / name for name in ("a", "first.json", "second.json"))
    common = ("--data", f"scienceqa:{questions}", "--split", "test")
    outcome = qvlm("evaluate", tiny_model, *common, "--answers", answers, "--output", first)
    assert outcome.code == 0, outcome.stderr
    assert qvlm("score", answers, *common, "--output", second).code == 0
    (row,) = json.loads(second.read_text())["rows"].values()
    told = json.loads(first.read_text())
    for field in ("columns", "unparsed", "total", "task", "split", "policy"):
        assert row[field] == told[field]


def test_missing_answers_are_an_error_or_wrong(qvlm, refused, questions, files, tmp_path):
    short = tmp_path / "short.jsonl"
    short.write_text("".join(files[0].read_text().splitlines(keepends=True)[:3]))
    line = refused("score", short, "--data", questions)
    assert "lack 3 of 6 questions, first 'test/4'" in line
    output = tmp_path / "out.json"
    done = qvlm("score", short, "--data", questions, "--missing", "wrong", "--output", output)
    assert done.code == 0
    (row,) = json.loads(output.read_text())["rows"].values()
    assert (row["missing"], row["unparsed"], row["columns"]["Avg"]["correct"]) == (3, 0, 3)
    assert row["columns"]["Avg"]["count"] == 6


def test_the_challenges_lists(qvlm, tmp_path):
    vqa, vizwiz = write_vqav2(tmp_path / "vqa"), write_vizwiz(tmp_path / "vizwiz")
    answers = tmp_path / "answers.json"
    entries = [(200, "red"), (201, "Yes"), (202, "2")]
    answers.write_text(json.dumps([{"question_id": n, "answer": text} for n, text in entries]))
    for parser, expected in (("challenge", "100.00"), ("raw", "66.67")):
        outcome = qvlm(
            "score", answers, "--data", f"vqav2:{vqa}", "--split", "val", "--parser", parser
        )
        assert outcome.code == 0, outcome.stderr
        assert expected in next(row for row in outcome.stdout.splitlines() if "Avg" in row)
    names = ("VizWiz_val_00000000.jpg", "VizWiz_val_00000001.jpg")
    answers.write_text(json.dumps([{"image": name, "answer": "box"} for name in names]))
    outcome = qvlm("score", answers, "--data", f"vizwiz:{vizwiz}", "--split", "val")
    assert "50.00" in next(row for row in outcome.stdout.splitlines() if "Avg" in row)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "lack 6 of 6 questions"),
        ("{", "line 1: not JSON"),
        ('[{"question_id": "1"}]', "entry 1: it has no 'question_id' and 'text'"),
        ('[{"question_id": "9", "text": "A"}]', "'9' is not a question of this split"),
        ('{"id": 1, "answer": "A"}\n{"id": "1", "answer": "B"}', "line 2: '1' is answered twice"),
        ('{"qvlm_answers": 2, "fingerprint": {}}\n', "are of format 2"),
        ('{"qvlm_answers": 1, "fingerprint": {}}\n{"id": "x/1", "text": ""}\n', "hold 'x/1'"),
        (b"\xff", "cannot read answers"),
    ],
)
def test_unusable_answers(refused, questions, tmp_path, content, message):
    path = tmp_path / "answers"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert message in refused("score", path, "--data", questions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--missing", "skip"), "policy 'skip' of missing answers is unknown"),
        (("--parser", "llava-15"), "(did you mean 'llava-1.5'?)"),
        (("--examples", "page.html"), "name two files of answers"),
        (("--only", "IMAGE"), "(did you mean 'IMG'?)"),
        (("--split", "tset"), "did you mean 'test'"),
        (("--output", "/nowhere/x.json"), "give a file in a directory that exists"),
    ],
)
def test_unusable_options(refused, questions, files, options, message):
    assert message in refused("score", files[0], "--data", questions, *options)


def test_a_page_is_never_overwritten(refused, questions, files, tmp_path):
    (tmp_path / "page.html").write_text("mine")
    line = refused("score", *files, "--data", questions, "--examples", tmp_path / "page.html")
    assert "page.html' exists" in line
    assert (tmp_path / "page.html").read_text() == "mine"
    assert "named twice" in refused("score", files[0], files[0], "--data", questions)
