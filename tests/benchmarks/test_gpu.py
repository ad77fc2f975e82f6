"""The benchmark for GPUs: it refuses to run without one, and its parts work in the interpreter."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

RUN = Path(__file__).parents[2] / "benchmarks/gpu/run.py"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: run the benchmark itself")
def test_without_a_gpu_nothing_is_measured():
    kept = (RUN.parent / "results.json").read_bytes()
    done = subprocess.run([sys.executable, RUN], capture_output=True, text=True)
    assert done.returncode == 1
    assert "needs an NVIDIA GPU" in done.stderr
    assert (RUN.parent / "results.json").read_bytes() == kept


@pytest.mark.skipif(os.environ["TRITON_INTERPRET"] != "1", reason="not in the interpreter")
def test_every_width_is_compared_and_timed():
    pytest.importorskip("triton", reason="Triton is not installed: pip install 'qvlm[triton]'")
    spec = importlib.util.spec_from_file_location("gpu_run", RUN)
    run = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(run)
    rows = run.measure("2x64x32", 1, "cpu", beyond_cache=1e4)
    assert set(rows) == {run.BASELINE, *run.WIDTHS}
    exact = {name for name, row in rows.items() if row["definition"] == "same bits"}
    assert exact >= set(run.WIDTHS) - {"W4A16"}
    assert rows["W4A16"]["definition"]
    assert all(row["milliseconds"] > 0 for row in rows.values())
