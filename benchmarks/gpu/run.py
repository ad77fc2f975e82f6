"""How fast quantized linears are on an NVIDIA GPU, beside float16, and whether they are right.

    python benchmarks/gpu/run.py [--rounds 50] [--shapes 1x4096x11008 ...]

Needs a GPU and `pip install 'qvlm[triton]'`. Before a width is timed, its output is compared with
the definition on the CPU: the bits have to be the same, of A16 up to the order of float sums.
Contenders take turns; figures are medians of single calls between CUDA events. With few tokens,
each contender rotates among copies of its weights that exceed the cache. Writes results.json here.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from qvlm import machine
from qvlm.runtime import QuantizedLinear, quantize_linear
from qvlm.runtime.kernels import gpu
from qvlm.schemes import ActivationScheme, LayerScheme, WeightScheme

HERE = Path(__file__).parent
SHAPES = ("1x4096x11008", "16x4096x11008", "512x4096x11008", "4096x4096x11008")
WIDTHS = {"W4A4": (4, 4), "W4A8": (4, 8), "W6A6": (6, 6), "W8A8": (8, 8), "W4A16": (4, 16)}
GROUP = 128
FEW_TOKENS = 16
BASELINE = "torch float16"
FLOAT_BITS = 16


@torch.no_grad()
def measure(shape: str, rounds: int, device: str, beyond_cache: float = 200e6) -> dict[str, Any]:
    """Every contender's row for one shape, tokens x inputs x outputs."""
    tokens, width, out = map(int, shape.split("x"))
    x = torch.randn(tokens, width).half()
    linear = torch.nn.Linear(width, out, bias=False)
    layers: dict[str, Any] = {name: _quantized(linear, *bits) for name, bits in WIDTHS.items()}
    layers[BASELINE] = linear.half()
    equal = {name: _same(layers[name], x, device) for name in WIDTHS}
    turns, nbytes = {}, {}
    for name, layer in layers.items():
        layer.to(device)
        nbytes[name] = sum(t.nbytes for t in (*layer.parameters(), *layer.buffers()))
        copies = math.ceil(beyond_cache / nbytes[name]) if tokens <= FEW_TOKENS else 1
        turns[name] = _copies(layer, copies)
    x = x.to(device)
    times = _times(turns, x, rounds, device)
    return {
        name: {
            "milliseconds": 1e3 * statistics.median(spent),
            "over_float16": statistics.median(times[BASELINE]) / statistics.median(spent),
            "tops": 2e-12 * tokens * width * out / statistics.median(spent),
            "gigabytes_per_second": 1e-9 * nbytes[name] / statistics.median(spent),
            "definition": equal.get(name, ""),
        }
        for name, spent in times.items()
    }


def _quantized(linear: torch.nn.Linear, weight_bits: int, activation_bits: int) -> QuantizedLinear:
    scheme = LayerScheme(
        weights=WeightScheme(bits=weight_bits, group_size=min(GROUP, linear.in_features)),
        activations=ActivationScheme(bits=activation_bits, granularity="per_token"),
    )
    parameters = quantize_linear(linear, scheme, scheme.weights.group_size, None)
    return QuantizedLinear(parameters, kernel=gpu.TRITON)


def _same(layer: QuantizedLinear, x: torch.Tensor, device: str) -> str:
    """How the kernel's output relates to the definition's, on the first tokens."""
    few = x[:32]
    y = layer.to(device)(few.to(device)).cpu()
    layer.kernel = "torch"
    expected = layer.cpu()(few)
    layer.kernel = gpu.TRITON
    if torch.equal(y, expected):
        return "same bits"
    error = float((y.float() - expected.float()).abs().max() / expected.float().abs().max())
    if layer.shape.activations.bits == FLOAT_BITS and error < 1e-3:
        return f"within {error:.1e} of the largest output"
    raise SystemExit(f"{layer.shape.label} differs from the definition by {error:.1e}: a bug")


def _copies(layer: torch.nn.Module, count: int) -> Iterator[torch.nn.Module]:
    from copy import deepcopy

    return itertools.cycle([layer, *(deepcopy(layer) for _ in range(count - 1))])


def _times(
    turns: dict[str, Iterator[torch.nn.Module]], x: torch.Tensor, rounds: int, device: str
) -> dict[str, list[float]]:
    timed = _on_gpu if device == "cuda" else _on_cpu
    times: dict[str, list[float]] = {name: [] for name in turns}
    for turn in turns.values():
        timed(lambda turn=turn: next(turn)(x))  # compiles
    for _ in range(rounds):
        for name, turn in turns.items():
            times[name].append(timed(lambda turn=turn: next(turn)(x)))
    return times


def _on_gpu(call: Callable[[], Any]) -> float:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def _on_cpu(call: Callable[[], Any]) -> float:
    """For the test of this script, in Triton's interpreter: no figure of that means anything."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--rounds", type=int, default=50)
    args = parser.parse_args()
    if not torch.cuda.is_available() or not gpu.is_installed():
        sys.exit("needs an NVIDIA GPU, PyTorch with CUDA, and pip install 'qvlm[triton]'")
    torch.manual_seed(0)
    results = {
        "gpu": torch.cuda.get_device_name(),
        "cuda": torch.version.cuda,
        "versions": machine.versions(),
        "rounds": args.rounds,
        "group_size": GROUP,
        "shapes": {shape: measure(shape, args.rounds, "cuda") for shape in args.shapes},
    }
    (HERE / "results.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
