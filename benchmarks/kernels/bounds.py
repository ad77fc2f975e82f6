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


def bounds() -> dict[str, float]:
    """GB/s of reading with all threads, and GOP/s of all threads together.

    By `peak.cpp`, arithmetic times threads; where that does not build, reading alone, by PyTorch.
    """
    compiler = shutil.which("g++")
    if compiler is None or not torch.cpu._is_avx2_supported():
        return {"read_gbytes_per_s": read_bandwidth()}
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "peak"
        source = Path(__file__).with_name("peak.cpp")
        subprocess.run(
            [compiler, "-std=c++17", "-O1", "-mavx2", source, "-o", program, "-lpthread"],
            check=True,
        )
        rates = subprocess.run(
            [program, str(torch.get_num_threads())], check=True, capture_output=True, text=True
        ).stdout.split()
    threads = torch.get_num_threads()
    names = ("bytes_gops", "words_gops", "fp32_gflops", "vnni_gops", "amx_gops")
    *products, read = map(float, rates)
    found = {name: rate * threads for name, rate in zip(names, products, strict=True) if rate}
    # Whichever read faster: neither may fall below what a kernel gets.
    return {"read_gbytes_per_s": max(read, read_bandwidth()), **found}
