"""What each server executes of a quantized linear, as vLLM 0.32 and Transformers 5.23 have it.

Read from their code; W8A8Int8 and 4-bit WNA16 were also run (`benchmarks/serving`).
"""

from __future__ import annotations

from dataclasses import dataclass

from qvlm.export.standard.scheme import INT_QUANTIZED, PACKED
from qvlm.export.stored import NATIVE, StoredLayer
from qvlm.schemes.layer import FLOAT_BITS

REFUSED = "refuses it"
_CPU_MULTIPLE = 32
"""vLLM's CPU kernel for 4-bit weights takes widths that are multiples of this."""
_AMX_MULTIPLES = (32, 16)
"""The same of its CPU kernel for 8 bits on processors with AMX: of inputs, of outputs."""


@dataclass(frozen=True)
class Execution:
    """What one server does.

    Attributes:
        text: in words.
        differs: it computes something else than asked, and says nothing.
    """

    text: str
    differs: bool = False


def vllm(layer: StoredLayer) -> Execution:
    """Returns which of vLLM's schemes takes a linear."""
    activations = layer.activations
    per_row = layer.group_size == layer.in_features
    if layer.form == NATIVE:
        return Execution(f"{REFUSED}: export it")
    if layer.form == INT_QUANTIZED:
        eight = layer.weight_bits == activations.bits == 8 and per_row and layer.symmetric
        return Execution(f"W8A8Int8, integers{_amx(layer)}" if eight else REFUSED)
    if activations.bits == FLOAT_BITS and ".experts." in layer.path:
        return Execution("WNA16 experts, weights only (CPU: some models)")
    if activations.bits == FLOAT_BITS:
        return Execution(f"WNA16, weights only{_cpu(layer)}")
    wnam = activations.granularity == "per_token" and activations.symmetric
    if wnam and activations.bits in (4, 8):
        return Execution(
            f"W{layer.weight_bits}A16: default kernels do not round activations", differs=True
        )
    return Execution(REFUSED)


def transformers(layer: StoredLayer) -> Execution:
    """Returns what Transformers does with compressed-tensors: floats that stand for integers."""
    if layer.form == NATIVE:
        return Execution(f"{REFUSED}: export it")
    if layer.form == PACKED and not layer.symmetric:
        return Execution(f"{REFUSED}: packed zero points")
    kind = "weights only" if layer.activations.bits == FLOAT_BITS else "weights and activations"
    return Execution(f"simulated, {kind}")


def own(layer: StoredLayer, kernel: str | None) -> Execution:
    """Returns what qvlm's runtime does.

    Args:
        layer: a linear.
        kernel: that `qvlm.load` chose for it here; None where it was not loaded.
    """
    if layer.form == NATIVE:
        return Execution(f"integers, kernel {kernel}" if kernel else "integers")
    return Execution("through Transformers")


def _amx(layer: StoredLayer) -> str:
    """Where the processor has AMX, vLLM's CPU build takes every symmetric range per token."""
    inputs, outputs = _AMX_MULTIPLES
    fits = layer.in_features % inputs == layer.out_features % outputs == 0
    static = layer.activations.is_static and layer.activations.symmetric
    return " (CPU with AMX: ranges per token)" if static and fits else ""


def _cpu(layer: StoredLayer) -> str:
    fits = layer.in_features % _CPU_MULTIPLE == layer.out_features % _CPU_MULTIPLE == 0
    return " (CPU: AVX-512, not float32)" if layer.weight_bits == 4 and fits else " (no CPU kernel)"
