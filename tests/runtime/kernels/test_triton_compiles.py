"""Triton's compiler accepts the kernels for Ampere and Hopper; no GPU is needed for that."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="Triton is not installed: pip install 'qvlm[triton]'")
pytestmark = pytest.mark.slow

PROGRAM = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from qvlm.runtime.kernels.triton.multiply import multiply, multiply_floats
from qvlm.runtime.kernels.triton.rounding import round_tokens

FLOATS, BYTES, NUMBER = "*fp32", "*u8", "i32"
TYPES = {"levels": "*i8", "packed": BYTES, "scale": "*bf16", "zero_point": BYTES, "x": "*fp16"}
NUMBERS = ("tokens", "outputs", "channels", "group_size", "width")
TILE = {"BLOCK_M": 32, "BLOCK_N": 64, "BLOCK_K": 64, "HAS_CONSTANT": True}


def assembly(kernel, capability, types, **constants):
    signature = {
        name: "constexpr" if name in constants else NUMBER if name in NUMBERS
        else types.get(name, FLOATS)
        for name in kernel.arg_names
    }
    places = {(kernel.arg_names.index(name),): value for name, value in constants.items()}
    source = ASTSource(kernel, signature=signature, constexprs=places)
    target = GPUTarget("cuda", capability, 32)
    built = triton.compile(source, target=target, options={"enable_fp_fusion": False})
    assert len(built.asm["cubin"]) > 0
    return built.asm["ptx"]


for capability in (80, 90):
    for bits, centred, shift in ((4, True, 0), (8, False, 128), (3, True, 0)):
        code = assembly(
            multiply, capability, TYPES, BITS=bits, CENTRED=centred, SHIFT=shift, PER_TOKEN=True,
            **TILE,
        )
        assert ".s32.s8.s8.s32" in code, "products do not go to int8 tensor cores"
        assert "fma.rn.f" not in code, "a fused multiply-add rounds otherwise than the definition"
    assembly(multiply_floats, capability, TYPES, BITS=4, **TILE)
    types = {"levels": "*i8", "x": "*bf16"}
    for token, tensor in ((True, False), (False, True), (False, False)):
        code = assembly(
            round_tokens, capability, types, TOP=15, SHIFT=0, PER_TOKEN=token, PER_TENSOR=tensor,
            SYMMETRIC=False, BLOCK=1024,
        )
        assert "div.rn.f32" in code and "div.full" not in code, "divisions are not exact"
"""


def test_kernels_compile_for_gpus() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
