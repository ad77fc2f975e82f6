"""A run with its layers on disk does not grow from layer to layer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tiny.llava import save_llava, tiny_llava

PROGRAM = """
import json, sys
import qvlm
from qvlm import machine
from qvlm.pipeline import budget

def progress(stage, done, total, note=""):
    print(json.dumps([stage, machine.rss_bytes()]), flush=True)

model, data, output, room = sys.argv[1:]
budget._ROOM = float(room)
qvlm.quantize(
    model, "w4a4", data, output, memory=8 << 30, progress=progress,
    overrides=("calibration.samples=4", "calibration.batch_size=2"),
)
"""
LAYERS = 10


@pytest.mark.parametrize("room", [1.5, float("inf")], ids=["some is kept", "none is kept"])
def test_memory_after_a_layer_is_that_after_the_layers_before(
    tmp_path: Path, questions: Path, room: float
) -> None:
    llava, processor = tiny_llava(hidden=512, layers=LAYERS, heads=8)
    layer = sum(4 * p.numel() for p in llava.model.language_model.layers[0].parameters())
    model = save_llava(tmp_path / "model", llava, processor)
    arguments = [model, f"scienceqa:{questions}", tmp_path / "out", str(room)]
    outcome = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [json.loads(line) for line in outcome.stdout.splitlines()]
    for stage in ("observe", "round"):
        resident = [size for name, size in lines if name == stage][-LAYERS:]
        # What is made once and kept (workspaces of the libraries) is there after some layers.
        settled = resident[LAYERS // 4 :]
        assert max(settled) - settled[0] < layer / 2, (stage, resident)
