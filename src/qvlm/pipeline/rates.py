"""How fast this machine does what a quantization does, measured in a few seconds."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional as F

from qvlm.artefacts.journal import file_checksum
from qvlm.numerics.affine import grid_from_range
from qvlm.numerics.clipping import TailQuantiles, clip_error
from qvlm.numerics.entropy import JointHistogram
from qvlm.numerics.hessian import Hessian, error_feedback
from qvlm.numerics.rounding import round_gptq

_ROWS, _WIDTH = 512, 1024
_FILE = 1 << 25
_PATIENCE = 0.8
"""Seconds that one measurement goes on for, at least one repetition."""


@dataclass(frozen=True)
class Rates:
    """Units per second.

    Attributes:
        model: multiply-adds of a linear in the model's type.
        float32: the same in float32.
        factor: channels cubed, of a Hessian's factorization.
        columns: weights times channels, of rounding to second order.
        positions: values of an activation looked at for ranges and their errors.
        pairs: values of an activation looked at for the dependency.
        disk: bytes written, synced and checked.
    """

    model: float
    float32: float
    factor: float
    columns: float
    positions: float
    pairs: float
    disk: float


@torch.no_grad()
def measure(dtype: torch.dtype, percentiles: tuple[float, ...], bits: int, folder: Path) -> Rates:
    """Measures this machine.

    Args:
        dtype: the model's.
        percentiles: candidates of a range.
        bits: of activations.
        folder: on the disk that will be written.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(_ROWS, _WIDTH, generator=generator)
    weight = torch.randn(_WIDTH, _WIDTH, generator=generator)
    narrow = (x.to(dtype), weight.to(dtype))
    hessian = Hessian(_WIDTH)
    hessian.update(x)
    feedback = error_feedback(hessian.matrix)
    products = _ROWS * _WIDTH * _WIDTH

    def columns() -> None:
        round_gptq(weight, hessian, feedback, bits=4, group_size=32, symmetric=False)

    def look() -> None:
        tails = TailQuantiles(_WIDTH, percentiles, 4 * _ROWS)
        tails.update(x)
        lower, upper = tails.ranges()
        clip_error(x, lower, upper, bits, False, 2.4)

    def pair() -> None:
        grid = grid_from_range(x.amin(0), x.amax(0), bits)
        JointHistogram(grid.levels).update(x, x, grid, grid)

    return Rates(
        model=products / _seconds(lambda: F.linear(*narrow)),
        float32=products / _seconds(lambda: F.linear(x, weight)),
        factor=_WIDTH**3 / _seconds(lambda: error_feedback(hessian.matrix)),
        columns=_WIDTH**3 / _seconds(columns),
        positions=x.numel() / _seconds(look),
        pairs=x.numel() / _seconds(pair),
        disk=_FILE / _seconds(lambda: _write(folder)),
    )


def _seconds(task: Callable[[], object]) -> float:
    """Least wall time of a repetition: what disturbs the machine makes it longer, never shorter."""
    best, begin = float("inf"), time.perf_counter()
    while True:
        start = time.perf_counter()
        task()
        end = time.perf_counter()
        best = min(best, end - start)
        if end - begin > _PATIENCE:
            return best


def _write(folder: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        file.write(bytes(_FILE))
        file.flush()
        file_checksum(Path(file.name))
