"""What `qvlm doctor` says about kernels, with a measurement instead of an estimate."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from qvlm.errors import KernelError
from qvlm.runtime import QuantizedLinear, quantize_linear
from qvlm.runtime.kernels import gpu, native
from qvlm.runtime.kernels.choose import DEFINITION, MISSING, selected
from qvlm.schemes import ActivationScheme, LayerScheme


@dataclass(frozen=True)
class KernelReport:
    """Facts for a person who wonders how fast this installation is.

    Attributes:
        available: kernels that run here, fastest first.
        used: the one that layers get, with its time for one token on a small layer.
        threads: where its threads come from.
        gpu: whether there is an NVIDIA GPU, and kernels for it.
        advice: what to install, or what is wrong with `QVLM_KERNELS`; empty where all is well.
    """

    available: tuple[str, ...]
    used: str
    threads: str
    gpu: str
    advice: str


def kernel_report() -> KernelReport:
    """Looks for kernels and times the one in use against the definition."""
    library = native.library()
    available = (*native.paths(), DEFINITION)
    threads = f"{torch.get_num_threads()}"
    if library is not None:
        threads += f" ({library.thread_pool()})"
    if library is None:
        spent = _milliseconds(DEFINITION)
        floats = _milliseconds(None)
        used = (
            f"{DEFINITION}: {spent:.2f} ms for a token through 1024 x 1024 at W4A4, "
            f"{spent / floats:.0f} times as long as float32"
        )
        return KernelReport(available, used, threads, gpu.description(), MISSING.partition("; ")[0])
    try:
        kernel = selected()
    except KernelError as error:
        return KernelReport(available, "none", threads, gpu.description(), str(error))
    spent, slow = _milliseconds(kernel), _milliseconds(DEFINITION)
    used = (
        f"{kernel}: {spent:.3f} ms for a token through 1024 x 1024 at W4A4; "
        f"the definition takes {slow:.2f} ms"
    )
    return KernelReport(available, used, threads, gpu.description(), "")


@torch.no_grad()
def _milliseconds(kernel: str | None, width: int = 1024) -> float:
    """Median time of one token through a W4A4 layer; None = float32."""
    linear = torch.nn.Linear(width, width, bias=False)
    x = torch.randn(1, width)
    module: torch.nn.Module = linear
    if kernel is not None:
        scheme = LayerScheme(activations=ActivationScheme(granularity="per_token"))
        module = QuantizedLinear(quantize_linear(linear, scheme, 32, None), kernel=kernel)
    times = []
    for _ in range(9):
        start = time.perf_counter()
        module(x)
        times.append(1000 * (time.perf_counter() - start))
    return sorted(times)[len(times) // 2]
