"""Which kernel runs a layer, and what to say where none can."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from functools import cache

from qvlm.errors import KernelError, nearest
from qvlm.runtime.kernels import native
from qvlm.runtime.kernels.plan import LinearShape, plan_of

DEFINITION = "torch"
"""The plain PyTorch definition; runs everywhere, slowly."""

NAMES = ("avx512", "avx2", "neon", "portable", DEFINITION)
UNPROVEN = ("avx512",)
"""Compiled, but no machine at hand has run them: taken only where `QVLM_KERNELS` asks for them."""
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


def selected() -> str:
    """Returns the kernel for layers that it can run: the one asked for, or the fastest proven one.

    Raises:
        KernelError: `QVLM_KERNELS` names an unknown kernel or one that does not run here.
    """
    available = (*native.paths(), DEFINITION)
    asked = os.environ.get(VARIABLE, "")
    if not asked:
        if available == (DEFINITION,):
            _warn_once()
        return next(name for name in available if name not in UNPROVEN)
    if asked not in NAMES:
        raise KernelError(
            f"{VARIABLE}={asked} is unknown{nearest(asked, NAMES)}: use {', '.join(NAMES)}"
        )
    if asked not in available:
        raise KernelError(
            f"{VARIABLE}={asked} does not run here (available: {', '.join(available)}): "
            "unset it, or see `qvlm doctor`"
        )
    return asked


def choose(shape: LinearShape, name: str, *, allow_fallback: bool) -> Choice:
    """Returns the kernel of a layer.

    Args:
        shape: of the layer.
        name: of the layer, for the message.
        allow_fallback: take the definition for a layer that the selected kernel cannot run.

    Raises:
        KernelError: the selected kernel cannot run it and `allow_fallback` is false.
    """
    kernel = selected()
    if kernel == DEFINITION:
        asked = os.environ.get(VARIABLE, "") == DEFINITION
        return Choice(kernel, "" if asked else "the native library is not installed")
    plan = plan_of(shape)
    if not isinstance(plan, str):
        return Choice(kernel)
    if allow_fallback:
        return Choice(DEFINITION, plan)
    raise KernelError(
        f"layer '{name}' has no {kernel} kernel: {plan}; or run the slow definition with "
        f"{VARIABLE}={DEFINITION} (qvlm evaluate: --allow-fallback)"
    )


@cache
def _warn_once() -> None:
    warnings.warn(MISSING, RuntimeWarning, stacklevel=4)
