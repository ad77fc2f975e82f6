"""Facts about this machine and its software, for results and `qvlm doctor`."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import shutil
import sys
from importlib import metadata
from pathlib import Path

_MMAP_THRESHOLD = -3
"""M_MMAP_THRESHOLD of mallopt(3)."""
LIBRARIES = ("torch", "transformers", "safetensors", "tokenizers", "numpy", "pillow")


def peak_rss_bytes() -> int:
    """Largest resident memory of this process so far.

    Linux's counter of resources would be that of the process which started this one, if larger.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def keep_no_freed_memory() -> None:
    """Lets what is freed go back to the system at once, where the C library can be told so (glibc).

    By default it keeps freed blocks of up to 32 MiB for later: gigabytes, after weights of many
    sizes have come and gone. From here on, each block above 1 MiB is mapped by itself.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_MMAP_THRESHOLD, 1 << 20)


def give_freed_memory_back() -> None:
    """Lets go of smaller freed blocks, too, which otherwise add up from layer to layer (glibc)."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


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
