"""Which kernel runs a layer, and what to say where none can."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from functools import cache

from qvlm.errors import KernelError, nearest
from qvlm.runtime.kernels import gpu, native
from qvlm.runtime.kernels.gpu import TRITON
from qvlm.runtime.kernels.plan import LinearShape, plan_of

DEFINITION = "torch"
"""The plain PyTorch definition; runs everywhere, slowly."""

NAMES = ("amx", "avx512", "avx_vnni", "avx2", "neon", "portable", TRITON, DEFINITION)
VARIABLE = "QVLM_KERNELS"

MISSING = (
    "qvlm's CPU kernels are not installed: quantized layers run in plain PyTorch, many times "
    "slower. Install a C++ compiler (Debian: apt-get install g++) and reinstall qvlm; "
    "`qvlm doctor` says more"
)


@dataclass(frozen=True)
class Choice:
    """The kernel of one layer.

    Attributes:
        kernel: one of `NAMES`.
        reason: why it is not the fastest one here; empty where it is, or was asked for.
    """

    kernel: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.kernel} ({self.reason})" if self.reason else self.kernel


def available_on(device: str) -> tuple[str, ...]:
    """Returns the kernels for a type of device, `cpu` or `cuda`, fastest first."""
    if device == "cuda":
        return (TRITON, DEFINITION) if gpu.is_installed() else (DEFINITION,)
    return (*native.paths(), DEFINITION)


def selected(device: str = "cpu") -> str:
    """Returns the kernel for layers that it can run: the one asked for, or the fastest.

    Args:
        device: type of device, `cpu` or `cuda`.

    Raises:
        KernelError: `QVLM_KERNELS` names an unknown kernel or one that does not run there.
    """
    available = available_on(device)
    asked = os.environ.get(VARIABLE, "")
    if not asked:
        if available == (DEFINITION,):
            _warn_once(gpu.MISSING if device == "cuda" else MISSING)
        return available[0]
    if asked not in NAMES:
        raise KernelError(
            f"{VARIABLE}={asked} is unknown{nearest(asked, NAMES)}: use {', '.join(NAMES)}"
        )
    if asked not in available:
        raise KernelError(
            f"{VARIABLE}={asked} does not run on the {device} here "
            f"(available: {', '.join(available)}): "
            "unset it, or see `qvlm doctor`"
        )
    return asked


def choose(shape: LinearShape, name: str, *, allow_fallback: bool, device: str = "cpu") -> Choice:
    """Returns the kernel of a layer.

    Args:
        shape: of the layer.
        name: of the layer, for the message.
        allow_fallback: take the definition for a layer that the selected kernel cannot run.
        device: type of the device that it will be on, `cpu` or `cuda`.

    Raises:
        KernelError: the selected kernel cannot run it and `allow_fallback` is false.
    """
    kernel = selected(device)
    if kernel == DEFINITION:
        asked = os.environ.get(VARIABLE, "") == DEFINITION
        missing = "Triton" if device == "cuda" else "the native library"
        return Choice(kernel, "" if asked else f"{missing} is not installed")
    plan = plan_of(shape)
    if not isinstance(plan, str):
        return Choice(kernel)
    if allow_fallback:
        return Choice(DEFINITION, plan)
    raise KernelError(
        f"layer '{name}' has no {kernel} kernel: {plan}; or let it run by the slow definition with "
        f"--allow-fallback (Python: allow_fallback=True)"
    )


@cache
def _warn_once(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=4)
