"""torch.compile and torch.export trace quantized linears, whatever runs them."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

from qvlm.runtime import QuantizedLinear
from qvlm.runtime.kernels import gpu
from tiny.linears import PATHS, inputs, parameters

TRITON = pytest.param(
    "triton",
    marks=pytest.mark.skipif(
        not gpu.is_installed() or os.environ["TRITON_INTERPRET"] != "1",
        reason="needs Triton and its interpreter",
    ),
)
KERNELS = (*PATHS[:1], "torch", TRITON)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_operators_pass_pytorchs_own_checks(kernel):
    linear = QuantizedLinear(parameters(20, 64, granularity="per_token"), kernel=kernel)
    calls = []

    class Record(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func.namespace == "qvlm":
                calls.append((func, args))
            return func(*args, **(kwargs or {}))

    with Record():
        linear(inputs(3, 64))
    function, args = calls[0]
    torch.library.opcheck(function, args)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_compile_without_a_graph_break(kernel, backend):
    first = QuantizedLinear(parameters(32, 64, seed=1), kernel=kernel)
    second = QuantizedLinear(parameters(20, 32, granularity="per_token"), kernel=kernel)
    model = nn.Sequential(first, nn.ReLU(), second)
    x = inputs(5, 64)
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    assert torch.equal(compiled(x), model(x))
    assert torch.equal(compiled(x[:2]), model(x[:2]))


@pytest.mark.parametrize("kernel", KERNELS)
def test_export_keeps_one_operator_per_linear(kernel):
    linear = QuantizedLinear(parameters(20, 64), kernel=kernel)
    tokens = torch.export.Dim("tokens", min=2, max=512)
    program = torch.export.export(linear, (inputs(5, 64),), dynamic_shapes=({0: tokens},))
    names = [str(node.target) for node in program.graph.nodes if "qvlm" in str(node.target)]
    assert len(names) == 1
    x = inputs(9, 64)
    assert torch.equal(program.module()(x), linear(x))
