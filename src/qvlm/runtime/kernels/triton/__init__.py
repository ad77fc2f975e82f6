"""Triton kernels for NVIDIA GPUs: the definition's numbers, with int8 tensor cores.

Import `launch` only where Triton is installed (`qvlm.runtime.kernels.gpu`).
"""
