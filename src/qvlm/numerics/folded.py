"""Per-channel static activations in integers: their scale is folded into the weight (METHOD 2)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from qvlm.numerics.weights import QuantizedWeight


def fold(weight: Tensor, scale: Tensor) -> Tensor:
    """Returns V_oc = D_c W_oc, [out, in] float32.

    Args:
        weight: W, [out, in], any float dtype.
        scale: D, [in] or [1], step of the activation grid.
    """
    return weight.float() * scale.float()


def output_constant(weight: QuantizedWeight, zero_point: Tensor, bias: Tensor | None) -> Tensor:
    """Returns what the activation zero points add to each output, bias included.

    constant_o = bias_o - SUM_g s_og SUM_{c in g} z_c (v_oc - u_og), summed in float64.

    Args:
        weight: the quantized folded weight.
        zero_point: z, [in] or [1].
        bias: [out] or None.

    Returns:
        [out] float32.
    """
    centred = weight.centred().double()
    z = zero_point.double().expand(weight.levels.shape[1]).view(centred.shape[1:])
    sums = (centred * z).sum(dim=-1)
    constant = -(weight.scale.double() * sums).sum(dim=-1)
    return (constant if bias is None else constant + bias.double()).float()


def level_sums(weight: QuantizedWeight) -> Tensor:
    """Returns SUM_g s_og SUM_{c in g} (v_oc - u_og), [out] float32, summed in float64.

    A zero point z that belongs to a token (per-token grids) subtracts z times this.
    """
    sums = weight.centred().sum(dim=-1).double()
    return (weight.scale.double() * sums).sum(dim=-1).float()


def group_sums(weight: QuantizedWeight) -> Tensor:
    """Returns B_og = SUM_{c in g} (v_oc - u_og), [out, groups] int16.

    A zero point z that belongs to a token and a group subtracts z times this from A_og. Groups
    hold at most 128 channels of 8 bits, or more of fewer bits (`runtime.kernels.plan`).
    """
    return weight.centred().sum(dim=-1, dtype=torch.int32).to(torch.int16)


def folded_matmul(levels: Tensor, weight_dequantized: Tensor, bias: Tensor | None) -> Tensor:
    """Returns (q - z) V^T + bias in float32: the simulated path, fast enough to search with.

    Equal to the integer path up to the rounding of float sums.

    Args:
        levels: q - z, [..., in], integer-valued float32.
        weight_dequantized: [out, in] float32.
        bias: [out] or None.

    Returns:
        [..., out] float32.
    """
    return F.linear(levels, weight_dequantized, bias)
