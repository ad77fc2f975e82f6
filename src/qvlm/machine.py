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

_MMAP_THRESHOLD, _TRIM_THRESHOLD, _ARENA_MAX = -3, -1, -8
"""M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_ARENA_MAX of mallopt(3)."""
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
    _set_allocator(mapped=1 << 20, kept=1 << 17, arenas=1)


def keep_little_freed_memory() -> None:
    """Lets freed blocks of up to 32 MiB wait for the next ones, as glibc does by itself.

    All threads take them from one place: `give_freed_memory_back` does not reach what lies on top
    of another thread's.
    """
    _set_allocator(mapped=1 << 25, kept=1 << 25, arenas=1)


def keep_freed_memory() -> None:
    """Lets freed blocks of up to 256 MiB wait for the next ones of their size (glibc).

    Otherwise each batch of an evaluation waits for the system to clear the same pages again.
    """
    _set_allocator(mapped=1 << 28, kept=1 << 28)


def _set_allocator(mapped: int, kept: int, arenas: int | None = None) -> None:
    """Sets from how many bytes a block is mapped by itself, how many may wait on top of an arena,
    and, if given, how many arenas there may be."""
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:
        set_option(_MMAP_THRESHOLD, mapped)
        set_option(_TRIM_THRESHOLD, kept)
        if arenas is not None:
            set_option(_ARENA_MAX, arenas)


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
    return _processor_fact("model name") or platform.processor() or platform.machine()


def processor_vendor() -> str:
    """For instance `AuthenticAMD`; "" where the system does not say."""
    return _processor_fact("vendor_id")


def _processor_fact(*names: str) -> str:
    """The first line of that name in Linux's description of the processor, or ""."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in names:
                return value.strip()
    return ""


FEATURES = (
    "avx2", "fma", "bmi2", "avx_vnni", "avx512f", "avx512_vnni", "amx_int8", "asimd", "asimddp",
    "i8mm",
)  # fmt: skip
"""Instruction sets that kernels use or could use, as Linux names them."""


def processor_features() -> list[str]:
    """Which of `FEATURES` the processor has; empty where the system does not say."""
    found = set(_processor_fact("flags", "Features").split())
    return [name for name in FEATURES if name in found]


def compiler() -> str | None:
    """Path of a C++ compiler that an installation of qvlm would find, or None."""
    wanted = os.environ.get("CXX")
    for name in (wanted, "c++", "g++", "clang++"):
        if name and (path := shutil.which(name)):
            return path
    return None
