"""VQAv2, VizWiz and Hateful Memes folders of a few questions, small enough to check by hand."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

TEN = ["red"] * 4 + ["dark red"] * 3 + ["Red."] * 2 + ["blue"]
"""Answers of ten people; normalised, six say red."""


def draw(path: Path, shade: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(shade).save(path)


def picture(shade: int) -> Image.Image:
    return Image.new("RGB", (36 + shade, 34), (60 * shade % 256, 120, 200))


def encoded(shade: int) -> dict[str, Any]:
    """An image as the hub's parquet holds it."""
    stream = io.BytesIO()
    picture(shade).save(stream, "PNG")
    return {"bytes": stream.getvalue(), "path": None}


def people(answers: list[str], ids: bool = True) -> list[dict[str, Any]]:
    return [
        {"answer": text, "answer_confidence": "yes", **({"answer_id": n} if ids else {})}
        for n, text in enumerate(answers, start=1)
    ]


def write_vqav2(root: Path) -> Path:
    """Two questions on one picture and one on another in `val` and `train`, one in `test-dev`."""
    for split, subset in (("train", "train2014"), ("val", "val2014")):
        first = 100 if split == "train" else 200
        asked = [
            {"question_id": first + n, "image_id": image, "question": text}
            for n, image, text in (
                (0, 7, "What color?"),
                (1, 7, "Is it a cat?"),
                (2, 8, "How many?"),
            )
        ]
        kinds = (("other", TEN), ("yes/no", ["yes"] * 10), ("number", ["2"] * 7 + ["two"] * 3))
        notes = [
            {
                "question_id": question["question_id"],
                "image_id": question["image_id"],
                "question_type": "what",
                "answer_type": kind,
                "multiple_choice_answer": answers[0],
                "answers": people(answers),
            }
            for question, (kind, answers) in zip(asked, kinds, strict=True)
        ]
        _dump(root / f"v2_OpenEnded_mscoco_{subset}_questions.json", {"questions": asked})
        _dump(root / f"v2_mscoco_{subset}_annotations.json", {"annotations": notes[::-1]})
        for image in (7, 8):
            draw(root / subset / f"COCO_{subset}_{image:012d}.jpg", image)
    hidden = [{"question_id": 9, "image_id": 3, "question": "What is it?"}]
    _dump(root / "v2_OpenEnded_mscoco_test-dev2015_questions.json", {"questions": hidden})
    draw(root / "test2015" / "COCO_test2015_000000000003.jpg")
    return root


def write_vizwiz(root: Path) -> Path:
    """Two questions in `val` and `train`, one without answers in `test`."""
    for split in ("train", "val", "test"):
        records = []
        for n, (text, kind, answers) in enumerate(
            (
                ("what IS this", "other", ["cereal"] * 3 + ["box"] * 7),
                ("Can you read it?", "unanswerable", ["unanswerable"] * 9 + ["no"]),
            )
        ):
            name = f"VizWiz_{split}_{n:08d}.jpg"
            draw(root / split / name, n)
            records.append(
                {
                    "image": name,
                    "question": text,
                    "answers": people(answers, ids=False),
                    "answer_type": kind,
                    "answerable": int(kind != "unanswerable"),
                }
            )
        if split == "test":
            records = [{key: records[0][key] for key in ("image", "question")}]
        _dump(root / f"{split}.json", records)
    return root


def write_memes(root: Path) -> Path:
    """Four memes in `train` and `dev_seen`, two without labels in `test_seen`."""
    root.mkdir(parents=True, exist_ok=True)
    for split, count in (("train", 4), ("dev_seen", 4), ("test_seen", 2)):
        lines = []
        for n in range(count):
            name = f"img/{split}{n}.png"
            draw(root / name, n)
            label = {} if split == "test_seen" else {"label": n % 2}
            lines.append(json.dumps({"id": n + 1, "img": name, "text": f"words {n}", **label}))
        (root / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return root


def write_parquet(path: Path, rows: list[dict[str, Any]], group: int = 2) -> Path:
    """Rows as the hub's parquet, `group` rows in a row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=group)
    return path


def _dump(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
