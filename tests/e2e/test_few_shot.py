"""Few-shot evaluations: how many are shown, several seeds, what the mean and its interval are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import qvlm
from qvlm.artefacts.scores import ShotScores
from qvlm.data import open_source, with_shots
from qvlm.data.batches import prompt_inputs
from qvlm.errors import DataError
from qvlm.evaluation import HuggingFaceGenerator
from qvlm.evaluation.answers import read_answers
from qvlm.pipeline import Asking, evaluate_shots
from qvlm.report import seeds_table, to_markdown
from tiny.families import built_family
from tiny.vqa import draw

SEEDS = (0, 1, 7)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    """40 answered pictures to show, 6 to ask about."""
    root = tmp_path_factory.mktemp("shots")
    draw(root / "a.png")
    for split, names in (("train", range(100, 140)), ("test", range(10, 16))):
        lines = [
            {"question": f"What is {n}?", "answer": "tick" if n % 2 else "tock", "image": "a.png"}
            for n in names
        ]
        (root / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return f"folder:{root}"


@pytest.mark.parametrize("shots", [0, 4, 8, 16, 32])
@pytest.mark.parametrize("name", ["open_flamingo", "idefics"])
def test_models_for_interleaved_images_are_shown_up_to_32(data: str, name: str, shots: int) -> None:
    family = built_family(name)
    asked = with_shots(open_source(data, "test"), open_source(data, "train"), shots, seed=0)[:2]
    assert {len(sample.images) for sample in asked} == {shots + 1}
    inputs = prompt_inputs(asked, family.processor)
    pictures = inputs["pixel_values"]
    assert pictures.shape[0] * pictures.shape[1] % (2 * (shots + 1)) == 0
    words = family.processor.tokenizer.batch_decode(inputs["input_ids"], skip_special_tokens=True)
    for text, sample in zip(words, asked, strict=True):
        places = [text.index(shot.question) for shot in (*sample.shots, sample)]
        assert places == sorted(places)
    generator = HuggingFaceGenerator(family.model, family.processor, max_new_tokens=2)
    assert generator.generate(asked)[0] == generator.generate(asked[:1])[0]


def asking(model: Path, data: str, **options: object) -> Asking:
    return Asking(model, "exact_match", data, "test", **{"shots": 4, **options})  # type: ignore[arg-type]


def test_every_seed_is_an_evaluation_of_its_own(tiny_model, data, tmp_path):
    path, output = tmp_path / "a.jsonl", tmp_path / "scores.json"
    scores = evaluate_shots(asking(tiny_model, data), SEEDS, path, output=output)
    assert ShotScores.model_validate_json(output.read_text()) == scores
    assert [one.settings.shot_seed for one in scores.runs] == list(SEEDS)
    assert len({one.settings.prompt_sha for one in scores.runs}) == len(SEEDS)
    alone = qvlm.evaluate(tiny_model, data=data, shots=4, shot_seed=7, answers=tmp_path / "b")
    assert alone.columns == scores.runs[2].columns
    assert (tmp_path / "a.seed-7.jsonl").read_bytes() == (tmp_path / "b").read_bytes()
    accuracies = tuple(one.overall.accuracy for one in scores.runs)
    average = scores.columns["Avg"]
    assert average.accuracies == pytest.approx(accuracies)
    assert average.mean == pytest.approx(sum(accuracies) / 3)
    assert average.count == scores.runs[0].overall.count == 6
    table = to_markdown(seeds_table(scores))
    assert "seed 7" in table
    assert "4 shown first" in table
    again = evaluate_shots(asking(tiny_model, data), SEEDS, path)
    assert [one.resumed for one in again.runs] == [6, 6, 6]
    assert again.columns == scores.columns
    assert read_answers(tmp_path / "a.seed-0.jsonl") != read_answers(tmp_path / "a.seed-1.jsonl")


@pytest.mark.parametrize(
    ("options", "seeds", "message"),
    [
        ({"shots": 0}, (0, 1), r"show some \(--shots\)"),
        ({}, (3, 3), r"shot seeds \[3, 3\] are not at least 2 distinct ones"),
        ({"shots": 40}, (0, 1), "40 samples were to be shown first, but there are 40"),
    ],
)
def test_seeds_that_cannot_be_used(tiny_model, data, tmp_path, options, seeds, message):
    with pytest.raises(DataError, match=message):
        evaluate_shots(asking(tiny_model, data, **options), seeds, tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
