"""Every task asked and scored on a tiny model: calibration, overlap, shards, kills, few-shot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import qvlm
from qvlm.data import open_source
from qvlm.errors import DataError
from qvlm.evaluation import HuggingFaceGenerator
from qvlm.evaluation.answers import read_answers
from tiny.llava import tiny_llava
from tiny.vqa import draw, write_memes, write_vizwiz, write_vqav2

RUN = "from qvlm.cli.main import run; run()"


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("sets")
    own = root / "folder"
    draw(own / "a.png")
    lines = [{"question": f"What {n}?", "answer": "x", "image": "a.png"} for n in range(3)]
    for split in ("train", "test"):
        (own / f"{split}.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return {
        "vqav2": write_vqav2(root / "vqav2"),
        "vizwiz": write_vizwiz(root / "vizwiz"),
        "hateful_memes": write_memes(root / "memes"),
        "folder": own,
    }


@pytest.mark.parametrize(
    ("name", "split"),
    [("vqav2", "val"), ("vizwiz", "val"), ("hateful_memes", "dev_seen"), ("folder", "test")],
)
def test_calibrate_on_train_and_score_another_split(sets, tiny_model, tmp_path, name, split):
    spec = f"{name}:{sets[name]}"
    overrides = ("calibration.samples=2", "calibration.guard_fraction=0", "search.strategy=none")
    result = qvlm.quantize(tiny_model, "w8a8", spec, tmp_path / "run", overrides=overrides)
    assert result.calibration_source == spec
    assert len(result.calibration_ids) == 2
    assert all(key.startswith("train/") for key in result.calibration_ids)
    with pytest.raises(DataError, match=r"calibration and for scoring, first 'train/"):
        qvlm.evaluate(tmp_path / "run", data=spec, split="train")
    scores = qvlm.evaluate(tmp_path / "run", data=spec, split=split)
    assert scores.total == len(open_source(spec, split)) == scores.overall.count
    assert scores.task == ("exact_match" if name == "folder" else name)
    assert (name == "hateful_memes") == ("ROC-AUC" in scores.measures)


def test_weights_are_mean_log_probabilities(sets):
    samples = open_source(f"hateful_memes:{sets['hateful_memes']}", "dev_seen")
    model, processor = tiny_llava()
    together = HuggingFaceGenerator(model, processor).weigh(samples)
    for sample, weights in zip(samples, together, strict=True):
        (alone,) = HuggingFaceGenerator(model, processor).weigh([sample])
        assert alone == pytest.approx(weights, abs=1e-5)
        from qvlm.data.batches import prompt_inputs

        inputs = prompt_inputs([sample], processor)
        for option, weight in weights.items():
            answer = processor.tokenizer(f" {option}", add_special_tokens=False)["input_ids"]
            ids = torch.cat([inputs["input_ids"], torch.tensor([answer])], dim=1)
            with torch.no_grad():
                logits = model(input_ids=ids, pixel_values=inputs["pixel_values"]).logits[0]
            steps = logits[-len(answer) - 1 : -1].log_softmax(-1)
            by_hand = steps[range(len(answer)), answer].mean().item()
            assert weight == pytest.approx(by_hand, abs=1e-5)


def test_few_shot_prompts_change_answers_and_fit_or_are_refused(tiny_model, questions, tmp_path):
    data = f"scienceqa:{questions}"
    plain = qvlm.evaluate(tiny_model, data=data, answers=tmp_path / "0")
    shown = qvlm.evaluate(tiny_model, data=data, answers=tmp_path / "1", shots=1, shot_seed=3)
    assert (plain.settings.shots, plain.settings.shot_seed) == (0, None)
    assert (shown.settings.shots, shown.settings.shot_seed) == (1, 3)
    assert plain.settings.prompt_sha != shown.settings.prompt_sha
    assert read_answers(tmp_path / "0") != read_answers(tmp_path / "1")
    model, processor = qvlm.load(tiny_model)
    model.config.text_config.max_position_embeddings = 64
    with pytest.raises(DataError, match="positions, the model has 64: show fewer samples"):
        HuggingFaceGenerator(model, processor).generate(open_source(data, "test"))


def test_another_prompt_brings_its_length_and_parser(tiny_model, questions, tmp_path):
    scores = qvlm.evaluate(
        tiny_model, data=f"scienceqa:{questions}", prompt="explanation", max_new_tokens=3
    )
    assert (scores.settings.prompt, scores.settings.parser) == ("explanation", "answer-colon")
    assert scores.settings.generation.max_new_tokens == 3
    with pytest.raises(DataError, match="has no prompt 'letters'"):
        qvlm.evaluate(tiny_model, data=f"scienceqa:{questions}", prompt="letters")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-c", RUN, *map(str, arguments)]


def test_two_processes_write_the_file_of_one(tiny_model, questions, tmp_path):
    arguments = ("evaluate", tiny_model, "--data", f"scienceqa:{questions}", "--batch-size", 2)
    one, two = tmp_path / "one", tmp_path / "two"
    qvlm.evaluate(tiny_model, data=f"scienceqa:{questions}", batch_size=2, answers=one)
    launcher = [
        sys.executable, "-m", "torch.distributed.run", "--no-python", "--nproc-per-node", "2",
    ]  # fmt: skip
    done = subprocess.run(
        [*launcher, *command(*arguments, "--answers", two, "--output", tmp_path / "scores")],
        capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert two.read_bytes() == one.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "scores", "two"]
    assert json.loads((tmp_path / "scores").read_text())["total"] == 6
    assert done.stdout.count("unparsed") >= 1
    assert done.stdout.count("Avg") == 1


def test_a_killed_evaluation_goes_on(tiny_model, questions, tmp_path):
    data = f"scienceqa:{questions}"
    plain, path = tmp_path / "plain", tmp_path / "answers"
    qvlm.evaluate(tiny_model, data=data, batch_size=1, answers=plain)
    arguments = ("evaluate", tiny_model, "--data", data, "--batch-size", 1, "--answers", path)
    running = subprocess.Popen(
        command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    # One answer is on the disk: killed in the middle, or, on a fast machine, after the end.
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and running.poll() is None:
        if path.exists() and path.read_bytes().count(b"\n") >= 2:
            running.send_signal(signal.SIGKILL)
            break
        time.sleep(0.005)
    running.wait()
    kept = len(read_answers(path))
    assert kept >= 1
    scores = qvlm.evaluate(tiny_model, data=data, batch_size=1, answers=path)
    assert scores.resumed == kept
    assert path.read_bytes() == plain.read_bytes()
