"""ScienceQA's accuracy beside LLaVA-1.5's script and lmms-eval."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from difference import TWO_DIGITS, Check
from PIL import Image
from published import published
from words import Words

import qvlm
from qvlm.data import Sample, open_source
from qvlm.evaluation.tasks import load_task
from qvlm.evaluation.tasks.letters import choice_of

SUBJECTS = ("natural science", "social science", "language science")
PRINTED = re.compile(r"Accuracy: ([\d.]+)%, IMG-Accuracy: ([\d.]+)%")


def checks(words: Words, cases: int, folder: Path) -> list[Check]:
    """Everything about ScienceQA."""
    _write(folder, words, cases)
    samples = open_source(f"scienceqa:{folder}", "test")
    given = [words.letter(len(sample.choices)) for sample in samples]
    return [*_llava(folder, samples, given), _lmms_eval(samples, given)]


def _write(folder: Path, words: Words, cases: int) -> None:
    """The authors' folder; every third question has a picture, every second one a hint."""
    problems = {}
    for number in range(cases):
        choices = [f"choice {n}" for n in range(2 + words.below(4))]
        problems[str(number)] = {
            "question": f"Question {number}?",
            "choices": choices,
            "answer": words.below(len(choices)),
            "hint": "A hint." if number % 2 else "",
            "image": None if number % 3 else "image.png",
            "grade": f"grade{1 + number % 12}",
            "subject": SUBJECTS[number % 3],
            "topic": "things",
            "split": "test",
        }
        if number % 3 == 0:
            picture = folder / "images" / "test" / str(number) / "image.png"
            picture.parent.mkdir(parents=True)
            Image.new("RGB", (2, 2)).save(picture)
    (folder / "problems.json").write_text(json.dumps(problems))
    (folder / "pid_splits.json").write_text(json.dumps({"test": list(problems)}))


def _llava(folder: Path, samples: Sequence[Sample], given: Sequence[str]) -> list[Check]:
    """The same answers through LLaVA's script and `qvlm score`."""
    answers = folder / "answers.jsonl"
    answers.write_text(
        "".join(
            json.dumps(
                {"question_id": one.id, "prompt": "<image>" if one.image else "", "text": text}
            )
            + "\n"
            for one, text in zip(samples, given, strict=True)
        )
    )
    script = published("llava.eval").__path__[0] + "/eval_science_qa.py"
    result = folder / "result.json"
    command = [
        sys.executable, script, "--base-dir", folder, "--result-file", answers,
        "--output-file", folder / "details.json", "--output-result", result,
    ]  # fmt: skip
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    chosen = json.loads(result.read_text())["results"]
    single = Check("letter of one answer, llava-1.5", "llava-torch")
    for one, text in zip(samples, given, strict=True):
        ours = choice_of(text, len(one.choices), "llava-1.5")
        single.compare((text, len(one.choices)), -1 if ours is None else ours, chosen[one.id])
    printed = PRINTED.search(said)
    assert printed is not None, said
    columns = qvlm.score([answers], f"scienceqa:{folder}").rows[str(answers)].columns
    table = Check("columns from ScienceQA's files", "llava-torch")
    for name, value in zip(("Avg", "IMG"), printed.groups(), strict=True):
        table.compare(name, columns[name].accuracy, float(value), within=TWO_DIGITS)
    return [single, table]


def _lmms_eval(samples: Sequence[Sample], given: Sequence[str]) -> Check:
    process = published("lmms_eval.tasks.scienceqa.utils").sqa_process_results
    scorer = load_task("scienceqa").load_scorer("lmms-eval")
    check = Check("credit of one answer, lmms-eval", "lmms-eval")
    for one, text in zip(samples, given, strict=True):
        document = {"choices": one.choices, "answer": one.answer}
        theirs = process(document, [text])["exact_match"]
        check.compare((text, one.choices, one.answer), scorer.credit(text, one) or 0.0, theirs)
    return check
