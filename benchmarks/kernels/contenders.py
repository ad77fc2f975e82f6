"""Linear layers to compare: each builds one weight set and returns a call and its bytes.

A contender whose library is not installed is left out, and the result says so.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from table import READING
from torch import nn

from qvlm.numerics.affine import grid_from_range
from qvlm.numerics.weights import resolve_group_size
from qvlm.runtime import QuantizedLinear, quantize_linear
from qvlm.runtime.kernels.choose import selected
from qvlm.schemes import ActivationScheme, LayerScheme, WeightScheme
from qvlm.schemes.layer import ActivationGranularity


@dataclass(frozen=True)
class Layer:
    """One weight set: a call without arguments, and the bytes that it has to read."""

    run: Callable[[], object]
    nbytes: int
    copy: Callable[[], Layer] | None = None
    """Another set of weights of its own, faster than building one."""


Builder = Callable[[torch.Tensor, torch.Tensor], Layer]
"""x [tokens, in] float32, weight [out, in] float32 -> a layer."""


def torch_fp32(x: torch.Tensor, weight: torch.Tensor) -> Layer:
    w = weight.clone()
    return Layer(lambda: nn.functional.linear(x, w), w.nbytes)


def reading_alone(_x: torch.Tensor, weight: torch.Tensor) -> Layer:
    """PyTorch's sum of as many bytes as weights of 4 bits have: reading, and little else."""
    data = torch.ones(weight.numel() // 8)
    return Layer(data.sum, data.nbytes, lambda: reading_alone(_x, weight))


def qvlm_layer(
    weight_bits: int,
    activation_bits: int,
    group_size: int | None,
    granularity: ActivationGranularity = "per_channel",
) -> Builder:
    """Static or grouped activations; a group size that does not divide becomes a divisor."""

    def build(x: torch.Tensor, weight: torch.Tensor) -> Layer:
        size = resolve_group_size(weight.shape[1], group_size, "largest_divisor")
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        linear.weight.data = weight
        scheme = LayerScheme(
            weights=WeightScheme(
                bits=weight_bits,
                granularity="per_group" if group_size else "per_channel",
                group_size=group_size,
                symmetric=group_size is None or group_size > 32,
            ),
            activations=ActivationScheme(bits=activation_bits, granularity=granularity),
        )
        grid = None
        if scheme.activations.is_static:
            grid = grid_from_range(x.amin(0) - 0.5, x.amax(0) + 0.5, activation_bits)
        parameters = quantize_linear(linear, scheme, size, grid)
        layer = QuantizedLinear(parameters, kernel=selected())
        zeros = 0 if layer.zero_point is None else layer.zero_point.nbytes
        sums = 0 if layer.group_sums is None else layer.group_sums.nbytes
        nbytes = layer.packed.nbytes + layer.scale.nbytes + zeros + sums

        def called(module: nn.Module) -> Layer:
            return Layer(lambda: module(x), nbytes, lambda: called(copy.deepcopy(module)))

        return called(layer)

    return build


def fbgemm_int8(x: torch.Tensor, weight: torch.Tensor) -> Layer:
    """PyTorch's dynamically quantized linear."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
        linear.weight.data = weight
        torch.backends.quantized.engine = "fbgemm"
        quantized = torch.ao.quantization.quantize_dynamic(
            nn.Sequential(linear), {nn.Linear}, dtype=torch.qint8
        )
    return Layer(lambda: quantized(x), weight.numel())


def ort_int4(x: torch.Tensor, weight: torch.Tensor) -> Layer:
    """ONNX Runtime MatMulNBits, blocks of 32, int8 accumulation."""
    from onnx import TensorProto, helper

    out, width = weight.shape
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (out, width // 32, 16), dtype=np.uint8)
    scales = np.full(out * (width // 32), 0.01, np.float32)
    node = helper.make_node(
        "MatMulNBits", ["x", "w", "s"], ["y"], domain="com.microsoft", K=width, N=out, bits=4,
        block_size=32, accuracy_level=4,
    )  # fmt: skip
    weights = {"w": levels, "s": scales}
    run = _session(node, weights, x.numpy(), TensorProto.FLOAT, TensorProto.FLOAT, out)
    return Layer(run, levels.nbytes + scales.nbytes)


def ort_int8(x: torch.Tensor, weight: torch.Tensor) -> Layer:
    """ONNX Runtime MatMulInteger on inputs that are already rounded."""
    from onnx import TensorProto, helper

    out, width = weight.shape
    rng = np.random.default_rng(0)
    levels = rng.integers(-127, 128, (width, out), dtype=np.int8)
    q = rng.integers(0, 256, tuple(x.shape), dtype=np.uint8)
    node = helper.make_node("MatMulInteger", ["x", "w"], ["y"])
    run = _session(node, {"w": levels}, q, TensorProto.UINT8, TensorProto.INT32, out)
    return Layer(run, levels.nbytes)


def _session(
    node: Any, weights: dict[str, Any], x: Any, kind: int, result: int, out: int
) -> Callable[[], object]:
    import onnxruntime
    from onnx import helper, numpy_helper

    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", kind, list(x.shape))],
        [helper.make_tensor_value_info("y", result, [x.shape[0], out])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"x": x})


def openvino_u4(x: torch.Tensor, weight: torch.Tensor) -> Layer:
    """OpenVINO: u4 weights in groups of 32, decompressed in the product."""
    import openvino as ov
    from openvino import opset13 as ops

    out, width = weight.shape
    rng = np.random.default_rng(0)
    packed = rng.integers(0, 256, (out * width // 2,), dtype=np.uint8)
    shape = [out, width // 32, 32]
    tensor = ov.Tensor(packed, shape, ov.Type.u4)
    levels = ops.convert(ops.constant(tensor), "f32")
    zeros = ops.constant(np.full((out, width // 32, 1), 8, np.float32))
    scales = ops.constant(np.full((out, width // 32, 1), 0.01, np.float32))
    wide = ops.multiply(ops.subtract(levels, zeros), scales)
    matrix = ops.reshape(wide, ops.constant(np.array([out, width])), False)
    given = ops.parameter(list(x.shape), np.float32)
    model = ov.Model([ops.matmul(given, matrix, False, True)], [given])
    core = ov.Core()
    settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads()}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    array = x.numpy()
    return Layer(lambda: request.infer([array]), packed.nbytes + out * width // 32 * 4)


CONTENDERS: dict[str, Builder] = {
    "torch fp32": torch_fp32,
    READING: reading_alone,
    "qvlm W4A4 g32": qvlm_layer(4, 4, 32),
    "qvlm W4A4 g128": qvlm_layer(4, 4, 128),
    "qvlm W4A4 g32 rotated groups": qvlm_layer(4, 4, 32, "per_group_rotated"),
    "qvlm W4A4 g64 rotated groups": qvlm_layer(4, 4, 64, "per_group_rotated"),
    "qvlm W4A8 g32": qvlm_layer(4, 8, 32),
    "qvlm W6A6": qvlm_layer(6, 6, None),
    "qvlm W8A8": qvlm_layer(8, 8, None),
    "qvlm W4A16 g32": qvlm_layer(4, 16, 32),
    "ORT int4": ort_int4,
    "ORT int8": ort_int8,
    "FBGEMM int8": fbgemm_int8,
    "OpenVINO u4": openvino_u4,
}
