"""A ScienceQA folder of six questions, small enough to check by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from PIL import Image

from qvlm.data import Sample

QUESTIONS: dict[str, tuple[str, str, str, bool]] = {
    # id: subject, grade, hint, has an image
    "1": ("natural science", "grade2", "Magnets pull iron.", True),
    "2": ("natural science", "grade7", "", True),
    "3": ("social science", "grade6", "", False),
    "4": ("language science", "grade12", "Read the poem.", False),
    "5": ("language science", "grade1", "", False),
    "6": ("social science", "grade8", "Look at the map.", True),
}


def problem(
    subject: str, grade: str, hint: str, image: str | None, split: str = "test"
) -> dict[str, Any]:
    return {
        "question": "Which one is right?",
        "choices": ["the first", "the second", "the third"],
        "answer": 1,
        "hint": hint,
        "image": image,
        "task": "closed choice",
        "grade": grade,
        "subject": subject,
        "topic": "things",
        "category": "c",
        "skill": "s",
        "lecture": "",
        "solution": "",
        "split": split,
    }


def write_scienceqa(root: Path, train: int = 0) -> Path:
    """Writes the folder: all six questions are in `test`, 1 and 3 also in `minitest`.

    With `train`, that many others are in the training split, every second one with an image.
    """
    problems = {}
    for index, (pid, (subject, grade, hint, has_image)) in enumerate(QUESTIONS.items()):
        problems[pid] = problem(subject, grade, hint, "image.png" if has_image else None)
        problems[pid]["question"] += " Think." * index
        if has_image:
            folder = root / "images" / "test" / pid
            folder.mkdir(parents=True)
            Image.new("RGB", (40 + index, 36), (40 * index, 90, 255 - 40 * index)).save(
                folder / "image.png"
            )
    learnt = [f"t{number}" for number in range(train)]
    for number, pid in enumerate(learnt):
        name = None if number % 2 else "image.png"
        problems[pid] = problem("natural science", "grade3", "", name, split="train")
        problems[pid]["question"] = f"Which one is number {number}?"
        if name is not None:
            folder = root / "images" / "train" / pid
            folder.mkdir(parents=True)
            shade = 255 * number // train
            Image.linear_gradient("L").point(lambda grey, shade=shade: grey ^ shade).convert(
                "RGB"
            ).save(folder / name)
    splits = {"train": learnt, "test": list(QUESTIONS), "minitest": ["1", "3"]}
    (root / "problems.json").write_text(json.dumps(problems))
    (root / "pid_splits.json").write_text(json.dumps(splits))
    return root


def write_as_folder(scienceqa: Path, root: Path) -> Path:
    """Writes the same questions as a folder of one's own, which are asked in other words."""
    problems = json.loads((scienceqa / "problems.json").read_text())
    splits = json.loads((scienceqa / "pid_splits.json").read_text())
    kept = ("question", "choices", "answer", "hint")
    shutil.copytree(scienceqa / "images", root / "images")
    for split in ("train", "test"):
        lines = []
        for pid in splits[split]:
            fields = {name: problems[pid][name] for name in kept}
            if problems[pid]["image"]:
                fields["image"] = f"images/{split}/{pid}/{problems[pid]['image']}"
            lines.append(json.dumps({"id": pid, **fields}) + "\n")
        (root / f"{split}.jsonl").write_text("".join(lines))
    return root


def edit_problem(root: Path, pid: str, **changes: Any) -> None:
    """Overwrites fields of a question; the value `...` deletes the field."""
    path = root / "problems.json"
    problems = json.loads(path.read_text())
    for field, value in changes.items():
        problems[pid].pop(field, None)
        if value is not ...:
            problems[pid][field] = value
    path.write_text(json.dumps(problems))


def sample(pid: str = "1", **changes: Any) -> Sample:
    fields: dict[str, Any] = {
        "id": pid,
        "question": "Which one is right?",
        "choices": ("the first", "the second", "the third"),
        "answer": 1,
        "hint": "",
        "image": None,
        "subject": "natural science",
        "grade": "grade2",
        "topic": "things",
        "split": "test",
    }
    return Sample(**{**fields, **changes})
