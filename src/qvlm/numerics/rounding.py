"""Second-order weight rounding: later columns make up for the errors of earlier ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from qvlm.numerics.hessian import ErrorFeedback, Hessian, error_feedback
from qvlm.numerics.weights import QuantizedWeight, group_grid, quantize_weight, resolve_group_size

_BLOCK = 128
"""Columns whose errors are gathered before they move the columns behind them."""


WEIGHTS_AT_ONCE = 1 << 25
"""Weights that are rounded at a time, in whole rows: some copies of them are held in float32."""


@dataclass(frozen=True)
class Rounded:
    """A weight matrix rounded to second order.

    Attributes:
        weight: every row the better of the second-order and the nearest one.
        loss: e H e^T of every output row with e = w - w^, [out] float32.
        nearest_loss: the same of nearest rounding; never below `loss`.
    """

    weight: QuantizedWeight
    loss: Tensor
    nearest_loss: Tensor


def round_gptq(
    weight: Tensor,
    hessian: Hessian,
    feedback: ErrorFeedback | None = None,
    *,
    bits: int,
    group_size: int | None,
    symmetric: bool,
    clipping: Literal["minmax", "lp"] = "minmax",
) -> Rounded:
    """Rounds a (folded) weight matrix so that its output changes least on the tokens seen.

    Minimizes SUM_t w_t ||(V - V^) x_t||^2 = tr((V - V^) H (V - V^)^T) column by column
    (GPTQ, Frantar et al. 2023). Rows do not depend on each other: linears that read one input
    may be stacked, and a row that came out worse than by nearest rounding is rounded to nearest.
    Weights of dead channels become zero, that is, the level is the zero point.

    Args:
        weight: V, [out, in], any float dtype; finite.
        hessian: of the inputs that V multiplies.
        feedback: of that Hessian; None to factorize it here with the default damping.
        bits, group_size, symmetric, clipping: as in `quantize_weight`. The grid of a group is
            that of its weights as earlier columns left them; of the original ones where
            `feedback` has an order.

    Raises:
        RecipeError: the group size does not divide the width.
        ValueError: the Hessian holds NaN or infinity, or has another width.
    """
    size = resolve_group_size(weight.shape[1], group_size, "error")
    scheme = _Scheme(bits, size, symmetric, clipping)
    if feedback is None:
        feedback = error_feedback(hessian.matrix)
    rows = max(1, WEIGHTS_AT_ONCE // weight.shape[1])
    parts = [_round_rows(part, hessian, feedback, scheme) for part in torch.split(weight, rows)]
    return parts[0] if len(parts) == 1 else _joined(parts)


def _round_rows(
    weight: Tensor, hessian: Hessian, feedback: ErrorFeedback, scheme: _Scheme
) -> Rounded:
    target = weight.float().masked_fill(hessian.dead, 0.0)
    nearest = quantize_weight(
        target,
        bits=scheme.bits,
        group_size=scheme.group_size,
        symmetric=scheme.symmetric,
        clipping=scheme.clipping,
    )
    second = _second_order(target, feedback, scheme)
    nearest_loss = proxy_loss(target, nearest, hessian.matrix)
    loss = proxy_loss(target, second, hessian.matrix)
    better = loss < nearest_loss
    return Rounded(
        weight=_rows(better, second, nearest),
        loss=torch.where(better, loss, nearest_loss),
        nearest_loss=nearest_loss,
    )


def _joined(parts: list[Rounded]) -> Rounded:
    """Rows after rows."""
    weights = [part.weight for part in parts]
    return Rounded(
        weight=replace(
            weights[0],
            levels=torch.cat([weight.levels for weight in weights]),
            scale=torch.cat([weight.scale for weight in weights]),
            zero_point=torch.cat([weight.zero_point for weight in weights]),
        ),
        loss=torch.cat([part.loss for part in parts]),
        nearest_loss=torch.cat([part.nearest_loss for part in parts]),
    )


def proxy_loss(weight: Tensor, quantized: QuantizedWeight, matrix: Tensor) -> Tensor:
    """Returns e H e^T of every output row, e = w - w^, [out] float32.

    Args:
        weight: [out, in] float32.
        quantized: of the same shape.
        matrix: H, [in, in] float32.
    """
    error = quantized.dequantized().neg_().add_(weight)
    return (error @ matrix).mul_(error).sum(dim=-1)


def split_rows(weight: QuantizedWeight, outputs: list[int]) -> list[QuantizedWeight]:
    """Returns the matrices that were stacked, given the output rows of each."""
    parts = zip(
        torch.split(weight.levels, outputs),
        torch.split(weight.scale, outputs),
        torch.split(weight.zero_point, outputs),
        strict=True,
    )
    return [
        replace(weight, levels=levels.clone(), scale=scale.clone(), zero_point=zero_point.clone())
        for levels, scale, zero_point in parts
    ]


@dataclass(frozen=True)
class _Scheme:
    """The grid of a weight matrix."""

    bits: int
    group_size: int
    symmetric: bool
    clipping: Literal["minmax", "lp"]

    def grid(self, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and zero point [groups, out] of columns [groups * group_size, out]."""
        groups = torch.unflatten(columns, 0, (-1, self.group_size)).transpose(1, 2).contiguous()
        return group_grid(groups, bits=self.bits, symmetric=self.symmetric, clipping=self.clipping)

    def blocks(self, width: int) -> Iterator[tuple[int, int]]:
        """First and last-but-one column of every block; a group starts at one or lies inside."""
        span = max(self.group_size, _BLOCK // self.group_size * self.group_size)
        for first in range(0, width, span):
            end = min(first + span, width)
            for start in range(first, end, _BLOCK):
                yield start, min(start + _BLOCK, end)


def _second_order(weight: Tensor, feedback: ErrorFeedback, scheme: _Scheme) -> QuantizedWeight:
    """GPTQ on the transposed matrix, so that a column of the weight is contiguous.

    Inside a block an error moves a later column when that column's turn comes; the columns behind
    the block are moved once, by one product.
    """
    outputs, width = weight.shape
    groups = width // scheme.group_size
    scale = weight.new_empty(groups, outputs)
    zero_point = weight.new_empty(groups, outputs)
    columns = torch.arange(width) if feedback.order is None else feedback.order
    group_of = (columns // scheme.group_size).tolist()
    static = feedback.order is not None
    if static:
        scale, zero_point = scheme.grid(weight.t())
    lowest = 1 if scheme.symmetric else 0
    n = feedback.feedback
    remaining = weight.t()[columns].contiguous()  # [in, out], moved by the errors so far
    centred = torch.empty_like(remaining)
    residual = weight.new_empty(_BLOCK, outputs)
    for start, end in scheme.blocks(width):
        for column in range(start, end):
            done, group = column - start, group_of[column]
            if not static and column % scheme.group_size == 0:
                members = remaining[column : column + scheme.group_size]
                weights = n[start:column, column : column + scheme.group_size]
                scale[group : group + 1], zero_point[group : group + 1] = scheme.grid(
                    torch.addmm(members, weights.t(), residual[:done], alpha=-1)
                )
            target = torch.addmv(
                remaining[column], residual[:done].t(), n[start:column, column], alpha=-1
            )
            step, zero = scale[group], zero_point[group]
            level = torch.div(target, step, out=centred[column]).round_()
            level.clamp_(lowest - zero, 2**scheme.bits - 1 - zero)
            torch.addcmul(target, level, step, value=-1, out=residual[done])
        remaining[end:].addmm_(n[start:end, end:].t(), residual[: end - start], alpha=-1)
    restored = torch.empty_like(centred)
    restored[columns] = centred
    levels = torch.unflatten(restored, 0, (groups, -1)).add_(zero_point.unsqueeze(1)).flatten(0, 1)
    return QuantizedWeight(
        levels=levels.t().to(torch.uint8).contiguous(),
        scale=scale.t().contiguous(),
        zero_point=zero_point.t().to(torch.uint8).contiguous(),
        bits=scheme.bits,
        group_size=scheme.group_size,
        symmetric=scheme.symmetric,
    )


def _rows(better: Tensor, first: QuantizedWeight, second: QuantizedWeight) -> QuantizedWeight:
    """Rows of `first` where `better` [out], else of `second`."""
    pick = better.unsqueeze(-1)
    return replace(
        first,
        levels=torch.where(pick, first.levels, second.levels),
        scale=torch.where(pick, first.scale, second.scale),
        zero_point=torch.where(pick, first.zero_point, second.zero_point),
    )
