"""Facts about this machine and its software, for results and `qvlm doctor`."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
from importlib import metadata
from pathlib import Path

LIBRARIES = ("torch", "transformers", "safetensors", "tokenizers", "numpy", "pillow")


def peak_rss_bytes() -> int:
    """Largest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def rss_bytes() -> int:
    """Resident memory of this process now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that decide numbers."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def description() -> dict[str, str]:
    """Processor, cores, threads and system."""
    import torch

    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


FEATURES = (
    "avx2", "fma", "bmi2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "asimd", "asimddp",
    "i8mm",
)  # fmt: skip
"""Instruction sets that kernels use or could use, as Linux names them."""


def processor_features() -> list[str]:
    """Which of `FEATURES` the processor has; empty where the system does not say."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return []
    for line in info.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            found = set(value.split())
            return [name for name in FEATURES if name in found]
    return []


def compiler() -> str | None:
    """Path of a C++ compiler that an installation of qvlm would find, or None."""
    wanted = os.environ.get("CXX")
    for name in (wanted, "c++", "g++", "clang++"):
        if name and (path := shutil.which(name)):
            return path
    return None
