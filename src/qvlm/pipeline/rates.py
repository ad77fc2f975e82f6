"""How fast this machine does what a quantization does, measured in a few seconds."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from qvlm.artefacts.joined import write_joined
from qvlm.artefacts.journal import file_checksum
from qvlm.artefacts.lazy import LazyTensors
from qvlm.artefacts.store import to_disk
from qvlm.artefacts.tensors import write_tensors
from qvlm.machine import give_freed_memory_back
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
_TENSORS = 20
"""Of the file of a packed layer, about: all are looked up when one is read."""
_PIECE, _PIECES = 1 << 19, 64
_VALUES = 1 << 22
"""Most values of hidden states that are looked at."""
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
        factor_cubed: a channel cubed, of a Hessian's factorization.
        factor_squared: a channel squared, of the same.
        column: a column that is rounded to second order, however many outputs it has.
        rounded: a weight that is rounded to second order, beside its multiply-adds.
        nearest: a weight that is rounded to nearest and put into a linear.
        input: a value that a linear quantizes at its input.
        positions: a value of an activation looked at for ranges and their errors.
        pairs: a value of an activation looked at for the dependency, and for its extremes.
        read: a byte of a layer that comes from the disk's cache into memory of its own.
        joined: a byte that is read from one file and written into another.
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
    factor_cubed: float
    factor_squared: float
    column: float
    rounded: float
    nearest: float
    input: float
    positions: float
    pairs: float
    read: float
    joined: float
    disk: float
    file: float
    tensor: float


@torch.no_grad()
def measure(
    dtype: torch.dtype,
    scheme: LayerScheme,
    group_size: int,
    percentiles: tuple[float, ...],
    shape: tuple[int, int],
    folder: Path,
) -> Rates:
    """Measures this machine.

    Args:
        dtype: the model's.
        scheme: of the language model's linears.
        group_size: channels that share a weight scale there.
        percentiles: candidates of a range.
        shape: positions of a batch and channels of its hidden states.
        folder: on the disk that will be written.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(_ROWS, _WIDTH, generator=generator)
    weight = torch.randn(_WIDTH, _WIDTH, generator=generator)
    narrow, small = (x.to(dtype), weight.to(dtype)), torch.zeros(1, 8)
    products = _ROWS * _WIDTH * _WIDTH
    bits = min(scheme.activations.bits, 8)
    group = group_size if _FEW_CHANNELS % group_size == 0 else _FEW_CHANNELS
    width = shape[1]
    states = torch.randn(min(shape[0], _VALUES // width), width, generator=generator)

    def install(weight: torch.Tensor, group_size: int, x: torch.Tensor) -> SimulatedLinear:
        static = scheme.activations.is_static
        grid = grid_from_range(x.amin(0), x.amax(0), bits) if static else None
        return SimulatedLinear(quantize_linear(_linear(weight), scheme, group_size, grid))

    def look() -> None:
        tails = TailQuantiles(width, percentiles, 4 * len(states))
        tails.update(states)
        lower, upper = tails.ranges()
        clip_error(states, lower, upper, bits, False, 2.4)

    def pair() -> None:
        tails = TailQuantiles(width, (1.0,), len(states))
        tails.update(states)
        lower, upper = tails.ranges()
        levels: AffineGrid = grid_from_range(lower[0], upper[0], bits)
        JointHistogram(levels.levels).update(states, states, levels, levels)

    float32 = _seconds(lambda: F.linear(x, weight)) / products
    hessian = _hessian(x)
    few = _rounding(weight[:_FEW_OUTPUTS, :_FEW_CHANNELS], x[:, :_FEW_CHANNELS], group)
    many = _rounding(weight, x, group)
    # Three products with the whole matrix: errors that feed forward, and both losses.
    many -= 2.5 * _WIDTH**3 * float32
    column = few / _FEW_CHANNELS
    one = torch.randn(1, width, generator=generator)
    simulated = install(one, group_size, states)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        file = Path(place) / "file.safetensors"
        each = _seconds(lambda: _write(file, 1))
        write_tensors(file, {str(n): torch.zeros(1) for n in range(_TENSORS)}, {})
        tensor = _seconds(lambda: LazyTensors(file).source("0").load())
        disk = (_seconds(lambda: _write(file, _FILE)) - each) / _FILE
        read = _seconds(lambda: _read(file)) / _FILE
        pieces = {str(index): torch.zeros(_PIECE, dtype=torch.uint8) for index in range(_PIECES)}
        write_tensors(file, pieces, {})
        joined = _seconds(lambda: _join(file)) / (_PIECE * _PIECES)
    cubed, squared = _factorization(x)
    return Rates(
        model=_seconds(lambda: F.linear(*narrow)) / products,
        float32=float32,
        attention=_attention(dtype),
        call=_seconds(lambda: F.linear(small, small)),
        value=_seconds(lambda: F.silu(states)) / states.numel(),
        moment=_seconds(lambda: hessian.update(x[:_FEW_OUTPUTS])) / _WIDTH**2,
        factor_cubed=cubed,
        factor_squared=squared,
        column=column,
        rounded=max(many - column * _WIDTH, 0.0) / _WIDTH**2,
        nearest=_seconds(partial(install, weight, group, x)) / _WIDTH**2,
        input=_seconds(lambda: simulated.multiplied(states)) / states.numel(),
        positions=_seconds(look) / states.numel(),
        pairs=_seconds(pair) / states.numel(),
        read=read,
        joined=joined,
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


def _factorization(x: torch.Tensor) -> tuple[float, float]:
    """Seconds of a channel cubed, and of a channel squared, from two widths far from each other."""
    narrow, wide = _WIDTH // 2, 2 * _WIDTH
    few, many = (
        _seconds(partial(error_feedback, _hessian(part).matrix))
        for part in (x[:, :narrow], x.repeat(1, 2))
    )
    # few = a narrow^3 + b narrow^2 and many = a wide^3 + b wide^2
    cubed = max(many / wide**2 - few / narrow**2, 0.0) / (wide - narrow)
    return cubed, max(few / narrow**2 - cubed * narrow, 0.0)


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
    """Median wall time of a repetition: what disturbs the machine now will go on disturbing it."""
    times, begin = list[float](), time.perf_counter()
    while not times or time.perf_counter() - begin < _PATIENCE:
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _read(path: Path) -> None:
    """As a layer comes and goes: its memory is asked of the system every time."""
    LazyTensors(path)["x"]
    give_freed_memory_back()


def _join(path: Path) -> None:
    """As the pieces of a checkpoint are put together."""
    pieces = LazyTensors(path)
    write_joined(path.with_name("joined"), {name: pieces.source(name) for name in pieces}, {})


def _write(path: Path, size: int) -> None:
    """As a step is written: checked, and synced."""
    write_tensors(path, {"x": torch.zeros(size, dtype=torch.uint8)}, {})
    file_checksum(path)
    to_disk(path)
