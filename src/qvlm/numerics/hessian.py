"""Second moments of what a linear reads, and how rounding errors feed forward through them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_PANEL = 1024
"""Rows that are inverted at a time."""
_GROWTH = 10.0
_LEAST_GROWN = 1e-8
"""Damping after a failed factorization at (almost) none."""


class Hessian:
    """Streams H = SUM_t w_t x_t x_t^T over the tokens t that a linear reads.

    H is half the Hessian of SUM_t w_t ||(W - W^) x_t||^2 with respect to one row of W^.
    Memory: one [channels, channels] float32 matrix.
    """

    def __init__(self, channels: int, device: torch.device | None = None) -> None:
        """Starts empty; `device` is where it is as long as it is empty."""
        self._channels, self._device = channels, device
        self._matrix: Tensor | None = None
        self._active: Tensor | None = None

    def update(self, x: Tensor, weights: Tensor | None = None) -> None:
        """Takes tokens.

        Args:
            x: [tokens, channels], any float dtype; padding left out.
            weights: w, [tokens], non-negative; None for 1.

        Raises:
            ValueError: another number of channels.
        """
        if x.shape[1] != self._channels:
            raise ValueError(f"expected {self._channels} channels, got {x.shape[1]}")
        x = x.float()
        weighted = x if weights is None else x * weights.float().unsqueeze(-1)
        self._add(weighted.t() @ x, (x != 0).any(dim=0))

    def merge(self, matrix: Tensor, dead: Tensor) -> None:
        """Adds the `matrix` and `dead` of other tokens."""
        self._add(matrix, ~dead)

    def _add(self, product: Tensor, active: Tensor) -> None:
        if self._matrix is None or self._active is None:
            self._matrix, self._active = product, active
        else:
            self._matrix += product
            self._active |= active

    @property
    def is_empty(self) -> bool:
        """True before the first token."""
        return self._matrix is None

    @property
    def matrix(self) -> Tensor:
        """H, [channels, channels] float32; zeros before the first token."""
        if self._matrix is None:
            return torch.zeros(self._channels, self._channels, device=self._device)
        return self._matrix

    @property
    def dead(self) -> Tensor:
        """[channels] bool: zero at every token, whatever its weight, so W cannot matter there."""
        if self._active is None:
            return torch.ones(self._channels, dtype=torch.bool, device=self._device)
        return ~self._active


@dataclass(frozen=True)
class ErrorFeedback:
    """How the rounding error of one column moves the columns that are rounded after it.

    With H + damping = N^-1 diag(gain) N^-T and N unit upper triangular (columns in `order`):
    an error r at column c subtracts r N_cj from every later column j, and what is left of it
    costs gain_c r^2.

    Attributes:
        feedback: N, [channels, channels] float32.
        order: [channels] int64, column to round first, second, ...; None for left to right.
        damping: what was added to the diagonal, as a share of its mean.
    """

    feedback: Tensor
    order: Tensor | None
    damping: float


def error_feedback(
    matrix: Tensor,
    damping: float = 0.01,
    activation_order: bool = False,
    shrinkage: float = 0.0,
) -> ErrorFeedback:
    """Factorizes a Hessian, once for all linears that read the same input.

    N is U of the Cholesky factorization (H + damping)^-1 = U^T U with every row divided by its
    diagonal (GPTQ, Frantar et al. 2023), computed in float64 without forming the inverse of H.
    If H + damping is not positive definite, the damping grows tenfold until it is.

    Of few tokens the correlations between channels come out too large. Shrinkage s takes
    (1 - s) H + s diag(H) for H (Schaefer and Strimmer 2005, their target D), so that less error
    is fed into channels that only seem to move together.

    Args:
        matrix: H, [channels, channels], symmetric, finite.
        damping: share of the mean diagonal that is added to the diagonal.
        activation_order: round the columns of largest H_cc first, instead of left to right.
        shrinkage: s, from 0 (H as it is) to 1 (no error is fed anywhere).

    Raises:
        ValueError: H holds NaN or infinity.
    """
    if not bool(torch.isfinite(matrix).all()):
        raise ValueError("the Hessian holds NaN or infinity")
    order = None
    if activation_order:
        order = torch.argsort(matrix.diagonal(), descending=True, stable=True)
        matrix = matrix[order][:, order]
    mean = float(matrix.diagonal().double().mean())
    if mean <= 0:  # no token, or none that weighs anything: nothing to feed forward
        return ErrorFeedback(torch.eye(len(matrix)).to(matrix), order, damping)
    while True:
        # Cholesky from the last column backwards: H = R R^T with R upper, so U = R^-1.
        damped = matrix.flip(0, 1).double()
        if shrinkage:
            diagonal = damped.diagonal().clone()
            damped.mul_(1 - shrinkage).diagonal().copy_(diagonal)
        damped.diagonal().add_(damping * mean)
        lower, failed = _cholesky(damped)
        if not failed:
            break
        del damped, lower  # a wide layer's is a gigabyte
        damping = max(damping * _GROWTH, _LEAST_GROWN)
    del damped
    _invert_lower(lower)
    return ErrorFeedback(_flipped_unit_rows(lower), order, damping)


def factorization_bytes(width: int) -> int:
    """Memory that `error_feedback` takes beside the Hessian: doubles, floats and some panels."""
    return 12 * width**2 + 24 * min(width, _PANEL) * width


def _cholesky(matrix: Tensor) -> tuple[Tensor, bool]:
    """Lower factor of a symmetric matrix, in the matrix's own memory on the CPU; True = none."""
    if matrix.device.type != "cpu":
        factor, info = torch.linalg.cholesky_ex(matrix)
        return factor, bool(info)
    # LAPACK wants columns that are contiguous: those of the transposed view are.
    lower = matrix.mT
    info = torch.empty((), dtype=torch.int32)
    torch.linalg.cholesky_ex(lower, out=(lower, info))
    return lower, bool(info)


def _invert_lower(factor: Tensor) -> None:
    """Replaces a lower triangular matrix by its inverse, block row by block row.

    [A 0; C D]^-1 = [A^-1 0; -D^-1 C A^-1  D^-1]: a block of C A^-1 needs no block of C to its left,
    so it can take the place of its own. A second matrix of doubles would be as large as the first.
    """
    width = len(factor)
    for start in range(0, width, _PANEL):
        stop = min(start + _PANEL, width)
        own = factor[start:stop, start:stop]
        identity = torch.eye(stop - start, dtype=factor.dtype, device=factor.device)
        inverse = torch.linalg.solve_triangular(own.contiguous(), identity, upper=False)
        own.copy_(inverse)
        for left in range(0, start, _PANEL):
            right = left + _PANEL
            product = factor[start:stop, left:start] @ factor[left:start, left:right]
            factor[start:stop, left:right] = torch.mm(inverse, product).neg_()


def _flipped_unit_rows(inverse: Tensor) -> Tensor:
    """The rows of a triangular matrix divided by their diagonal, last row and column first."""
    result = torch.empty_like(inverse, dtype=torch.float32)
    width, diagonal = len(inverse), inverse.diagonal().unsqueeze(-1)
    for start in range(0, width, _PANEL):
        stop = min(start + _PANEL, width)
        rows = inverse[start:stop] / diagonal[start:stop]
        result[width - stop : width - start] = rows.flip(0, 1)
    return result
