"""lmms-eval runs a local task on pico-llava, quantized or not; skipped where it is missing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from qvlm.data import choose, open_source, user_text

pytestmark = pytest.mark.filterwarnings("default")

TASK = """
task: qvlm_local
dataset_path: json
dataset_kwargs:
  data_files: {{test: {file}}}
test_split: test
output_type: generate_until
doc_to_text: question
doc_to_target: answer
doc_to_visual: !function pictures.of
generation_kwargs: {{max_new_tokens: 8, temperature: 0, do_sample: false}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}
metadata: [{{version: 0.0}}]
"""

PICTURES = """
from PIL import Image

def of(doc):
    return [Image.open(doc["file"])] if doc["file"] else []
"""


@pytest.mark.parametrize("recipe", [None, "w8a8"])
def test_a_local_task_gives_the_answers_of_evaluate(tmp_path: Path, recipe: str | None) -> None:
    pytest.importorskip("lmms_eval", reason="lmms-eval is not installed")
    if not entry_points(group="lmms_eval.models", name="qvlm"):
        pytest.skip("qvlm is not installed with its entry points")
    import qvlm

    model = "pico-llava"
    if recipe is not None:
        model = str(tmp_path / "run")
        overrides = ["calibration.samples=4", "calibration.guard_fraction=0"]
        qvlm.quantize("pico-llava", recipe, "picoscience", model, overrides=overrides)
    samples = choose(open_source("picoscience", "test"), 12, seed=0)
    lines = [
        {
            "question": user_text(sample, False),
            "answer": "ABCDE"[sample.answer or 0],
            "file": str(sample.image or ""),
        }
        for sample in samples
    ]
    file = tmp_path / "test.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "task.yaml").write_text(TASK.format(file=file))
    (tmp_path / "pictures.py").write_text(PICTURES)
    done = subprocess.run(
        [
            sys.executable, "-m", "lmms_eval", "--model", "qvlm", "--model_args",
            f"pretrained={model}", "--tasks", "qvlm_local", "--include_path", str(tmp_path),
            "--batch_size", "4", "--output_path", str(tmp_path / "out"), "--log_samples",
        ],
        capture_output=True, text=True, check=False,
        env={**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (results,) = (tmp_path / "out").rglob("*results.json")
    found = json.loads(results.read_text())["results"]["qvlm_local"]["exact_match,none"]
    expected = qvlm.evaluate(model, limit=12, batch_size=4)
    assert found == pytest.approx((expected.overall.accuracy or 0) / 100)
    assert found > 0.5
