"""The native run with Transformers' rounding of tokens, to compare an export with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qvlm.models.replay import replace_module
from qvlm.numerics.packing import unpack_bits
from qvlm.numerics.weights import QuantizedWeight
from qvlm.runtime.linear import QuantizedLinear
from qvlm.schemes.layer import FLOAT_BITS


class SymmetricTokens(nn.Module):
    """A linear whose symmetric tokens have the step 2 max |x| / (2^b - 1), as Transformers has it.

    qvlm's and vLLM's is max |x| / (2^(b-1) - 1).
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(self, linear: QuantizedLinear) -> None:
        """Takes the levels of a linear that runs by the definition."""
        super().__init__()
        shape, zero_point = linear.shape, linear.zero_point
        if zero_point is None:
            raise RuntimeError(f"layer '{linear.name}' does not run by the definition")
        weight = QuantizedWeight(
            levels=unpack_bits(linear.packed, shape.weight_bits, linear.in_features),
            scale=linear.scale.float(),
            zero_point=zero_point,
            bits=shape.weight_bits,
            group_size=shape.group_size,
            symmetric=shape.symmetric,
        )
        self.middle = 2 ** (shape.activations.bits - 1)
        self.register_buffer("weight", weight.dequantized(), persistent=False)
        self.register_buffer("bias", linear.constant, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out], in the dtype of x."""
        wide = x.float()
        step = wide.abs().amax(dim=-1, keepdim=True) / (self.middle - 0.5)
        step = torch.where(step == 0, torch.ones_like(step), step)
        levels = torch.round(wide / step).clamp_(-self.middle, self.middle - 1)
        return F.linear(levels * step, self.weight, self.bias).to(x.dtype)


def as_transformers_rounds(model: Any) -> Any:
    """Returns a native model, loaded in simulated arithmetic, with symmetric tokens changed."""
    for path, part in list(model.named_modules()):
        if not isinstance(part, QuantizedLinear):
            continue
        activations = part.shape.activations
        per_token = activations.bits < FLOAT_BITS and activations.granularity == "per_token"
        if per_token and activations.symmetric:
            replace_module(model, path, SymmetricTokens(part))
    return model
