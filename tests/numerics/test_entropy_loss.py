"""The differentiable dependency: the value of the histogram, the gradient of the definition."""

from __future__ import annotations

import pytest
import torch

from qvlm.numerics.affine import AffineGrid, grid_from_range
from qvlm.numerics.entropy import JointHistogram, soft_assignment
from qvlm.numerics.entropy_loss import dependency_loss

WIDTHS = pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 8])


def layers(bits: int, dtype: torch.dtype = torch.float32, tokens: int = 60) -> list[torch.Tensor]:
    """Inputs of two layers that depend on each other, 7 channels of very different size."""
    generator = torch.Generator().manual_seed(bits)
    x = torch.randn(tokens, 7, generator=generator, dtype=torch.float64)
    y = 0.8 * x + 0.3 * torch.randn(tokens, 7, generator=generator, dtype=torch.float64)
    size = torch.logspace(-1, 2, 7, dtype=torch.float64)
    return [(x * size).to(dtype), (y * size.flip(0)).to(dtype)]


def grids(bits: int, values: list[torch.Tensor], share: float = 1.0) -> list[AffineGrid]:
    """Min-max grids per channel, or of a share of the range, so that some values lie outside."""
    ends = [(share * x.detach().amin(0), share * x.detach().amax(0)) for x in values]
    return [grid_from_range(low, high, bits) for low, high in ends]


def definition(values: list[torch.Tensor], of: list[AffineGrid]) -> torch.Tensor:
    """-SUM P(m, l) log(P(m, l) / P(m)) with all levels of all elements, in float64."""
    spreads = [
        soft_assignment((x.double() / g.scale + g.zero_point).flatten(), g.levels)
        for x, g in zip(values, of, strict=True)
    ]
    joint = (spreads[0].t() @ spreads[1] / values[0].numel()).clamp(min=1e-200)
    return -torch.special.xlogy(joint, joint / joint.sum(1, keepdim=True)).sum()


@WIDTHS
def test_the_value_is_that_of_the_streaming_histogram(bits: int) -> None:
    values = layers(bits, tokens=3000)  # several chunks
    of = grids(bits, values)
    histogram = JointHistogram(2**bits)
    histogram.update(*values, *of)
    value = dependency_loss(*values, *of)
    assert value.item() == pytest.approx(histogram.conditional_entropy(), rel=1e-6)


@WIDTHS
@pytest.mark.parametrize("share", [1.0, 0.6], ids=["inside", "some values outside"])
def test_the_gradient_is_that_of_the_definition(bits: int, share: float) -> None:
    values = [x.requires_grad_() for x in layers(bits, torch.float64)]
    of = grids(bits, values, share)
    expected = torch.autograd.grad(definition(values, of), values)
    found = torch.autograd.grad(dependency_loss(*values, *of), values)
    for mine, theirs in zip(found, expected, strict=True):
        assert theirs.abs().max() > 0
        # The band of many levels leaves out 1e-9 of the mass.
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6 * float(theirs.abs().max()))


@pytest.mark.parametrize("bits", [4, 6])
def test_finite_differences_agree(bits: int) -> None:
    values = [x.requires_grad_() for x in layers(bits, torch.float64, tokens=4)]
    of = grids(bits, values)
    assert torch.autograd.gradcheck(lambda a, b: dependency_loss(a, b, *of), values, atol=1e-4)


def test_a_step_against_the_gradient_lowers_the_entropy() -> None:
    values = [x.requires_grad_() for x in layers(4)]
    of = grids(4, values)
    before = dependency_loss(*values, *of)
    gradients = torch.autograd.grad(before, values)
    size = 1e-3 / sum(float(g.square().sum()) for g in gradients)
    moved = [x.detach() - size * g for x, g in zip(values, gradients, strict=True)]
    assert (before - dependency_loss(*moved, *of)).item() == pytest.approx(1e-3, rel=0.05)


def test_what_does_not_fit_is_refused() -> None:
    x, y = layers(4)
    a, b = grids(4, [x, y])
    with pytest.raises(ValueError, match="shapes differ"):
        dependency_loss(x, y[:5], a, b)
    with pytest.raises(ValueError, match="levels differ"):
        dependency_loss(x, y, a, grids(3, [y])[0])
    with pytest.raises(ValueError, match="no element"):
        dependency_loss(x[:0], y[:0], a, b)
