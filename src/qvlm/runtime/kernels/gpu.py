"""NVIDIA GPUs: whether Triton is installed, and which devices a model can be put on."""

from __future__ import annotations

import importlib.util
from functools import cache

import torch

from qvlm.errors import KernelError

TRITON = "triton"
MISSING = (
    "Triton is not installed: quantized layers run in plain PyTorch on the GPU, slowly. "
    "pip install 'qvlm[triton]'"
)


@cache
def is_installed() -> bool:
    """True where the Triton kernels can be imported."""
    return importlib.util.find_spec(TRITON) is not None


def usable_device(name: str) -> torch.device:
    """Returns the device of that name.

    Raises:
        KernelError: no kernel runs on such a device, or it is not there.
    """
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise KernelError(f"device '{name}' is unknown: use cpu or cuda") from error
    if device.type not in ("cpu", "cuda"):
        raise KernelError(f"no kernel runs on device '{name}': use cpu or cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise KernelError(f"device '{name}' is not there: PyTorch sees no NVIDIA GPU")
    if device.index is not None and device.type == "cuda":
        there = torch.cuda.device_count()
        if device.index >= there:
            raise KernelError(
                f"device '{name}' is not there: PyTorch sees {there} NVIDIA GPU(s), counted from 0"
            )
    return device


def name_of(device: torch.device) -> str:
    """Returns `cpu`, or what a GPU is called."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def description() -> str:
    """Returns whether there is a GPU, and what would run on it."""
    there = torch.cuda.get_device_name() if torch.cuda.is_available() else "none that PyTorch sees"
    return f"{there}; Triton is {'installed' if is_installed() else 'not installed'}"


def load_operator() -> None:
    """Registers `qvlm::triton`.

    Raises:
        KernelError: Triton is not installed.
    """
    if not is_installed():
        raise KernelError(MISSING)
    importlib.import_module("qvlm.runtime.kernels.triton.launch")
