"""Same seed, same bytes: in another process, with another number of threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import torch
from safetensors import safe_open

import qvlm

FILES = ("quantization.json", "recipe.yaml", "artefacts/blocks.json")
OVERRIDES = ("calibration.samples=4", "calibration.batch_size=4", "search.budget=4")
PROGRAM = """
import sys, torch, qvlm
threads, model, data, output, *overrides = sys.argv[1:]
torch.set_num_threads(int(threads))
qvlm.quantize(model, "w4a4-static", data, output, overrides=overrides)
"""


def test_one_and_two_threads_write_the_same_bytes(tiny_model, questions, tmp_path):
    source = f"scienceqa:{questions}"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "2", tiny_model, source, tmp_path / "two", *OVERRIDES],
        # Threads that spin while they wait for each other starve a busy machine.
        env={**os.environ, "PYTHONHASHSEED": "1", "GOMP_SPINCOUNT": "0"},
    )
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        qvlm.quantize(tiny_model, "w4a4-static", source, tmp_path / "one", overrides=OVERRIDES)
    finally:
        torch.set_num_threads(before)
        assert process.wait(timeout=200) == 0
    one, two = (_weights(tmp_path / name / "qvlm.safetensors") for name in ("one", "two"))
    assert one == two
    for name in FILES:
        assert _bytes(tmp_path / "one" / name) == _bytes(tmp_path / "two" / name), name


def test_another_seed_draws_other_samples(tiny_model, questions, tmp_path):
    results = [
        qvlm.quantize(
            tiny_model, "w4a4-static", f"scienceqa:{questions}", tmp_path / str(seed),
            overrides=("calibration.samples=4", "search.strategy=none", f"seed={seed}"),
        )
        for seed in (1, 2)
    ]  # fmt: skip
    assert results[0].calibration_ids != results[1].calibration_ids
    assert [result.seed for result in results] == [1, 2]


def test_nothing_in_the_weights_file_is_left_to_chance(quantized):
    with safe_open(quantized / "qvlm.safetensors", framework="pt") as file:
        assert len(file.metadata()) == 1


def _weights(path: Path) -> tuple[dict, bytes]:
    """Header and tensors of a safetensors file."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def _bytes(path: Path) -> bytes:
    return path.read_bytes()
