"""How fast this machine does what a quantization does, measured in a few seconds."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from qvlm.artefacts.journal import file_checksum
from qvlm.artefacts.lazy import LazyTensors
from qvlm.artefacts.store import to_disk
from qvlm.artefacts.tensors import write_tensors
from qvlm.numerics.affine import AffineGrid, grid_from_range
from qvlm.numerics.clipping import TailQuantiles, clip_error
from qvlm.numerics.entropy import JointHistogram
from qvlm.numerics.hessian import Hessian, error_feedback
from qvlm.numerics.rounding import round_gptq
from qvlm.runtime import SimulatedLinear, quantize_linear
from qvlm.schemes import LayerScheme

_ROWS, _WIDTH = 512, 1024
_FEW_OUTPUTS, _FEW_CHANNELS = 16, 256
_FILE = 1 << 25
_PATIENCE = 0.5
"""Seconds that one measurement goes on for, at least one repetition."""


@dataclass(frozen=True)
class Rates:
    """Seconds of a unit of work.

    Attributes:
        model: a multiply-add of a linear in the model's type.
        float32: the same in float32.
        attention: a multiply-add of an attention in the model's type.
        call: one operation on next to nothing.
        value: a value of a hidden state that one elementwise operation goes over.
        moment: an entry of a Hessian that a batch is added to, beside its multiply-adds.
        factor: a channel cubed, of a Hessian's factorization.
        column: a column that is rounded to second order, however many outputs it has.
        rounded: a weight that is rounded to second order, beside its multiply-adds.
        nearest: a weight that is rounded to nearest and put into a linear.
        input: a value that a linear quantizes at its input.
        positions: a value of an activation looked at for ranges and their errors.
        pairs: a value of an activation looked at for the dependency.
        disk: a byte written, synced and checked.
        file: a file, however small.
        tensor: a tensor read from a file, however small.
    """

    model: float
    float32: float
    attention: float
    call: float
    value: float
    moment: float
    factor: float
    column: float
    rounded: float
    nearest: float
    input: float
    positions: float
    pairs: float
    disk: float
    file: float
    tensor: float


@torch.no_grad()
def measure(
    dtype: torch.dtype,
    scheme: LayerScheme,
    group_size: int,
    percentiles: tuple[float, ...],
    folder: Path,
) -> Rates:
    """Measures this machine.

    Args:
        dtype: the model's.
        scheme: of the language model's linears.
        group_size: channels that share a weight scale there.
        percentiles: candidates of a range.
        folder: on the disk that will be written.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(_ROWS, _WIDTH, generator=generator)
    weight = torch.randn(_WIDTH, _WIDTH, generator=generator)
    narrow, small = (x.to(dtype), weight.to(dtype)), torch.zeros(1, 8)
    products = _ROWS * _WIDTH * _WIDTH
    bits = min(scheme.activations.bits, 8)
    group = group_size if _FEW_CHANNELS % group_size == 0 else _FEW_CHANNELS
    grid = grid_from_range(x.amin(0), x.amax(0), bits) if scheme.activations.is_static else None

    def install() -> SimulatedLinear:
        return SimulatedLinear(quantize_linear(_linear(weight), scheme, group, grid))

    def look() -> None:
        tails = TailQuantiles(_WIDTH, percentiles, 4 * _ROWS)
        tails.update(x)
        lower, upper = tails.ranges()
        clip_error(x, lower, upper, bits, False, 2.4)

    def pair() -> None:
        levels: AffineGrid = grid_from_range(x.amin(0), x.amax(0), bits)
        JointHistogram(levels.levels).update(x, x, levels, levels)

    float32 = _seconds(lambda: F.linear(x, weight)) / products
    hessian = _hessian(x)
    few = _rounding(weight[:_FEW_OUTPUTS, :_FEW_CHANNELS], x[:, :_FEW_CHANNELS], group)
    many = _rounding(weight, x, group)
    # Three products with the whole matrix: errors that feed forward, and both losses.
    many -= 2.5 * _WIDTH**3 * float32
    column = few / _FEW_CHANNELS
    simulated = install()
    with tempfile.TemporaryDirectory(dir=folder) as place:
        file = Path(place) / "file.safetensors"
        each = _seconds(lambda: _write(file, 1))
        tensor = _seconds(lambda: LazyTensors(file)["x"])
        disk = (_seconds(lambda: _write(file, _FILE)) - each) / _FILE
    return Rates(
        model=_seconds(lambda: F.linear(*narrow)) / products,
        float32=float32,
        attention=_attention(dtype),
        call=_seconds(lambda: F.linear(small, small)),
        value=_seconds(lambda: F.silu(x)) / x.numel(),
        moment=_seconds(lambda: hessian.update(x[:_FEW_OUTPUTS])) / _WIDTH**2,
        factor=_seconds(lambda: error_feedback(hessian.matrix)) / _WIDTH**3,
        column=column,
        rounded=max(many - column * _WIDTH, 0.0) / _WIDTH**2,
        nearest=_seconds(install) / _WIDTH**2,
        input=_seconds(lambda: simulated.multiplied(x)) / x.numel(),
        positions=_seconds(look) / x.numel(),
        pairs=_seconds(pair) / x.numel(),
        disk=max(disk, 0.0),
        file=each,
        tensor=tensor,
    )


def _rounding(weight: torch.Tensor, x: torch.Tensor, group_size: int) -> float:
    """Seconds that rounding a matrix to second order takes, its Hessian at hand."""
    hessian = _hessian(x)
    feedback = error_feedback(hessian.matrix)
    return _seconds(
        lambda: round_gptq(
            weight, hessian, feedback, bits=4, group_size=group_size, symmetric=False
        )
    )


def _attention(dtype: torch.dtype) -> float:
    """Seconds of a multiply-add where positions attend to each other."""
    heads, positions, channels = 4, _ROWS, 64
    states = torch.zeros(1, heads, positions, channels, dtype=dtype)
    attend = partial(F.scaled_dot_product_attention, states, states, states)
    return _seconds(attend) / (2 * heads * positions**2 * channels)


def _hessian(x: torch.Tensor) -> Hessian:
    hessian = Hessian(x.shape[1])
    hessian.update(x)
    return hessian


def _linear(weight: torch.Tensor) -> nn.Linear:
    linear = nn.Linear(1, 1, bias=False)
    linear.weight = nn.Parameter(weight, requires_grad=False)
    return linear


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


def _write(path: Path, size: int) -> None:
    """As a step is written: checked, and synced."""
    write_tensors(path, {"x": torch.zeros(size, dtype=torch.uint8)}, {})
    file_checksum(path)
    to_disk(path)
