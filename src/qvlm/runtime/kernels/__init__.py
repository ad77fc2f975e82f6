"""Kernels for quantized linears: which there are, what they can run, and the memory they read.

The definition is plain PyTorch (`qvlm.runtime.definition`); a kernel gives the same numbers faster.
"""
