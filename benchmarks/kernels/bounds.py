"""What this machine allows: reading from memory, and arithmetic."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import torch


def read_bandwidth() -> float:
    """GB/s of reading 512 MiB with all threads (torch.sum), the best of 7."""
    data = torch.ones(2**27)
    best = float("inf")
    for _ in range(7):
        start = time.perf_counter()
        data.sum()
        best = min(best, time.perf_counter() - start)
    return data.nbytes / best / 1e9


def arithmetic() -> dict[str, float]:
    """GOP/s of all threads together, by `peak.cpp` times threads; empty where it does not build."""
    compiler = shutil.which("g++")
    if compiler is None or not torch.cpu._is_avx2_supported():
        return {}
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "peak"
        source = Path(__file__).with_name("peak.cpp")
        subprocess.run([compiler, "-std=c++17", "-O1", "-mavx2", source, "-o", program], check=True)
        rates = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()
    threads = torch.get_num_threads()
    names = ("bytes_gops", "words_gops", "fp32_gflops")
    return {name: float(rate) * threads for name, rate in zip(names, rates, strict=True)}
