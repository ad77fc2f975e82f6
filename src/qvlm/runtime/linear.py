"""A quantized linear that runs: packed weights, integer accumulators, one float epilogue."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import nn

from qvlm.errors import KernelError
from qvlm.numerics.folded import group_sums, level_sums, output_constant
from qvlm.numerics.packing import pack_bits
from qvlm.numerics.weights import QuantizedWeight
from qvlm.runtime.definition import Arithmetic
from qvlm.runtime.kernels import gpu, layout, ops
from qvlm.runtime.kernels.choose import DEFINITION
from qvlm.runtime.kernels.gpu import TRITON
from qvlm.runtime.kernels.plan import LinearShape, plan_of
from qvlm.runtime.parameters import LinearParameters
from qvlm.schemes.layer import FLOAT_BITS


class _Operators(Protocol):
    def linear(self, *args: Any) -> torch.Tensor: ...
    def definition(self, *args: Any) -> torch.Tensor: ...
    def triton(self, *args: Any) -> torch.Tensor: ...


_OPERATORS: _Operators = torch.ops.qvlm  # registered by the modules imported above


class QuantizedLinear(nn.Module):
    """Computes what `runtime.definition.linear` defines, by that definition or by a kernel.

    The definition and Triton keep weights packed at their true width, row by row; a CPU kernel
    keeps them in the order that it reads (`runtime.kernels.layout`).
    """

    packed: torch.Tensor
    scale: torch.Tensor
    zero_point: torch.Tensor | None
    constant: torch.Tensor | None
    token_sums: torch.Tensor | None
    group_sums: torch.Tensor | None
    input_scale: torch.Tensor | None
    input_zero_point: torch.Tensor | None

    def __init__(
        self,
        parameters: LinearParameters,
        arithmetic: Arithmetic = "integer",
        kernel: str = DEFINITION,
        name: str = "",
    ) -> None:
        """Packs the weights for a kernel.

        Args:
            parameters: of the linear.
            arithmetic: of the definition; a kernel is always integer.
            kernel: a name of `runtime.kernels.choose`.
            name: of the layer, for messages.

        Raises:
            KernelError: the kernel cannot run a linear of these widths, or is not installed.
        """
        super().__init__()
        if kernel == TRITON:
            gpu.load_operator()
        weight, grid = parameters.weight, parameters.grid
        self.name, self.kernel, self.arithmetic = name, kernel, arithmetic
        self.shape = shape_of(parameters)
        self.out_features, self.in_features = weight.levels.shape
        activations = parameters.activations
        rounds = activations.bits < FLOAT_BITS
        per_token = rounds and activations.granularity == "per_token"
        constant = (
            parameters.bias
            if grid is None
            else output_constant(weight, grid.zero_point, parameters.bias)
        )
        buffers = {
            **self._packed(weight),
            "constant": constant,
            "token_sums": level_sums(weight) if per_token else None,
            "group_sums": self._ordered(group_sums(weight)) if activations.is_grouped else None,
            "input_scale": None if grid is None else grid.scale.contiguous(),
            "input_zero_point": None if grid is None else grid.zero_point.contiguous(),
        }
        # Those that are None last: torch.export (2.13) counts them among the inputs.
        for key, value in sorted(buffers.items(), key=lambda item: item[1] is None):
            self.register_buffer(key, value, persistent=False)

    def _packed(self, weight: QuantizedWeight) -> dict[str, torch.Tensor | None]:
        scale = weight.scale.bfloat16()
        if self.kernel in (DEFINITION, TRITON):
            packed = pack_bits(weight.levels, weight.bits)
            return {"packed": packed, "scale": scale, "zero_point": weight.zero_point}
        plan = plan_of(self.shape, self.kernel)
        if isinstance(plan, str):
            raise KernelError(f"layer '{self.name}': {plan}")
        return {
            "packed": layout.pack_levels(weight.levels, weight.group_size, plan),
            "scale": layout.panels_of(scale),
            "zero_point": None if weight.symmetric else layout.panels_of(weight.zero_point),
        }

    def _ordered(self, sums: torch.Tensor) -> torch.Tensor:
        return sums if self.kernel in (DEFINITION, TRITON) else layout.panels_of(sums)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x [..., in] -> [..., out], in the dtype of x.

        Raises:
            KernelError: x has another width, is not of a float type, or lies elsewhere.
        """
        if x.dim() == 0 or x.shape[-1] != self.in_features or x.dtype not in ops.FLOATS:
            raise KernelError(
                f"layer '{self.name}' got {x.dtype} {tuple(x.shape)}, expected floats "
                f"[..., {self.in_features}]"
            )
        activations = self.shape.activations
        if self.kernel not in (DEFINITION, TRITON):
            self._check_on_cpu(x)
            return _OPERATORS.linear(
                x,
                self.packed,
                self.scale,
                self.zero_point,
                self.constant,
                self.token_sums,
                self.group_sums,
                self.input_scale,
                self.input_zero_point,
                self.out_features,
                self.shape.group_size,
                self.shape.weight_bits,
                activations.bits,
                activations.granularity,
                activations.symmetric,
                self.kernel,
            )
        arguments = (
            x,
            self.packed,
            self.scale,
            self.zero_point,
            self.constant,
            self.token_sums,
            self.group_sums,
            self.input_scale,
            self.input_zero_point,
            self.shape.group_size,
            self.shape.weight_bits,
            self.shape.symmetric,
            activations.bits,
            activations.symmetric,
            activations.is_rotated,
        )
        if self.kernel == TRITON:
            return _OPERATORS.triton(*arguments)
        return _OPERATORS.definition(*arguments, self.arithmetic)

    def _check_on_cpu(self, x: torch.Tensor) -> None:
        if x.device.type != "cpu":
            raise KernelError(
                f"layer '{self.name}' has a kernel for the CPU, its input is on {x.device}: load "
                "the model with device='cuda' instead of moving it"
            )

    def extra_repr(self) -> str:
        """Shape, widths and kernel, for `print(model)`."""
        how = self.arithmetic if self.kernel == DEFINITION else self.kernel
        return f"{self.in_features}, {self.out_features}, {self.shape.label}, {how}"


def shape_of(parameters: LinearParameters) -> LinearShape:
    """What a kernel has to know of a linear before it sees its values."""
    weight = parameters.weight
    out_features, in_features = weight.levels.shape
    return LinearShape(
        out_features,
        in_features,
        weight.group_size,
        weight.bits,
        weight.symmetric,
        parameters.activations,
    )
