"""The native library: whether it is there, and what it offers on this processor."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any


@cache
def library() -> Any | None:
    """Returns the extension module, or None where the package was installed without it."""
    import torch  # noqa: F401  (its OpenMP has to be in the process before threads are looked for)

    try:
        return importlib.import_module("qvlm.runtime.kernels.cpu._native")
    except ImportError:
        return None


def paths() -> tuple[str, ...]:
    """Kernel paths that run on this processor, fastest first; none without the library."""
    native = library()
    return () if native is None else tuple(native.paths())
