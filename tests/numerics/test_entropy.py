from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import pytest
import torch

from qvlm.numerics.affine import AffineGrid, grid_from_range
from qvlm.numerics.entropy import JointHistogram, soft_assignment


def unit_grid(levels: int) -> AffineGrid:
    return AffineGrid(torch.ones(1), torch.zeros(1), levels)


def histogram(
    x: torch.Tensor, y: torch.Tensor, levels: int, temperature: float = 1.0
) -> JointHistogram:
    """Of values that are in level units already."""
    result = JointHistogram(levels, temperature)
    result.update(x, y, unit_grid(levels), unit_grid(levels))
    return result


def dense_joint(x: torch.Tensor, y: torch.Tensor, levels: int, temperature: float) -> torch.Tensor:
    """The definition, in float64."""
    spread_x = soft_assignment(x.flatten().double(), levels, temperature)
    spread_y = soft_assignment(y.flatten().double(), levels, temperature)
    return spread_x.t() @ spread_y / x.numel()


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values).unsqueeze(1)


def test_soft_assignment_worked_by_hand() -> None:
    spread = soft_assignment(torch.tensor([0.0, 0.5]), 2)
    sigmoid = 1 / (1 + math.exp(-1))
    torch.testing.assert_close(spread, torch.tensor([[sigmoid, 1 - sigmoid], [0.5, 0.5]]))


def test_two_by_two_counts_worked_by_hand() -> None:
    # P = [[1/2, 1/4], [0, 1/4]]: the later level is open only where the earlier is 0.
    h = histogram(column(0, 0, 0, 1), column(0, 0, 1, 1), levels=2, temperature=1e-3)
    expected = 0.75 * (math.log(3) - 2 / 3 * math.log(2))
    assert h.conditional_entropy() == pytest.approx(expected, rel=1e-6)
    assert h.marginal_entropy() == pytest.approx(math.log(4) - 0.75 * math.log(3), rel=1e-6)


def test_one_soft_pair_worked_by_hand() -> None:
    p = 1 / (1 + math.exp(-1))
    expected = -p * math.log(p) - (1 - p) * math.log(1 - p)
    h = histogram(column(0), column(0), levels=2)
    assert h.conditional_entropy() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("levels", [4, 16, 32, 256])
def test_vanishing_temperature_is_plain_counting(levels: int) -> None:
    torch.manual_seed(levels)
    x = torch.rand(400, 5) * (levels - 1)
    y = (x + torch.randn(400, 5)).clamp(0, levels - 1)
    pairs = Counter(zip(x.round().flatten().tolist(), y.round().flatten().tolist(), strict=True))
    firsts = Counter(x.round().flatten().tolist())
    counted = sum(n * math.log(firsts[m] / n) for (m, _), n in pairs.items()) / x.numel()
    h = histogram(x, y, levels, temperature=1e-6)
    assert h.conditional_entropy() == pytest.approx(counted, rel=2e-3)


@pytest.mark.parametrize("temperature", [0.25, 1.0, 2.0])
@pytest.mark.parametrize("levels", [16, 32, 64, 256])
def test_the_band_holds_all_that_matters(levels: int, temperature: float) -> None:
    torch.manual_seed(levels)
    x = torch.rand(300, 4) * (levels + 1) - 1  # both ends, and a little beyond
    x[:5] = torch.tensor([[0.5], [levels - 1.5], [levels - 0.5], [7.5], [0.0]])
    y = x.roll(1, dims=1) * 0.7 + torch.randn(300, 4)
    joint = histogram(x, y, levels, temperature).joint()
    expected = dense_joint(x, y, levels, temperature)
    # What remains is the rounding of the float32 softmax; the next test bounds the band itself.
    assert (joint - expected).abs().sum().item() < 1e-5
    assert joint.sum().item() == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("temperature", [0.25, 0.5, 1.0, 2.0, 5.0])
def test_the_band_loses_less_than_a_billionth(temperature: float) -> None:
    # Half-way between two levels the most mass lies outside the band.
    x = column(100.5)
    joint = histogram(x, x, 256, temperature).joint()
    expected = dense_joint(x, x, 256, temperature)
    outside = expected[joint == 0].sum().item()
    assert 0 < outside < 2e-9  # a billionth of either value


def test_the_grids_put_every_channel_in_its_own_units() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(200, 3), torch.randn(200, 3)
    size = torch.tensor([0.01, 1.0, 300.0])
    plain = JointHistogram(16)
    plain.update(x, y, *(grid_from_range(t.amin(0), t.amax(0), 4) for t in (x, y)))
    scaled = JointHistogram(16)
    scaled.update(x * size, y, *(grid_from_range(t.amin(0), t.amax(0), 4) for t in (x * size, y)))
    assert scaled.conditional_entropy() == pytest.approx(plain.conditional_entropy(), rel=1e-4)


def test_independent_layers_keep_all_entropy_and_determined_ones_none() -> None:
    levels = torch.arange(8.0)
    x, y = levels.repeat_interleave(8).unsqueeze(1), levels.repeat(8).unsqueeze(1)
    free = histogram(x, y, levels=8, temperature=1e-3)
    assert free.conditional_entropy() == pytest.approx(math.log(8))
    bound = histogram(x, 7 - x, levels=8, temperature=1e-3)
    assert bound.conditional_entropy() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("levels", [16, 64])
def test_batches_and_order_do_not_matter(levels: int) -> None:
    torch.manual_seed(0)
    x, y = torch.rand(3000, 4) * levels, torch.rand(3000, 4) * levels
    whole = histogram(x, y, levels)
    parts, order = JointHistogram(levels), torch.randperm(3000)
    for rows in torch.split(order, 701):
        parts.update(x[rows], y[rows], unit_grid(levels), unit_grid(levels))
    torch.testing.assert_close(parts.joint(), whole.joint(), rtol=0, atol=1e-12)


def test_channels_may_be_permuted_together_but_not_apart() -> None:
    torch.manual_seed(0)
    x = torch.rand(500, 6) * 15
    y, order = (x + torch.randn(500, 6)).clamp(0, 15), torch.tensor([3, 1, 5, 0, 2, 4])
    plain = histogram(x, y, 16).conditional_entropy()
    together = histogram(x[:, order], y[:, order], 16).conditional_entropy()
    assert together == pytest.approx(plain, rel=1e-12)
    assert histogram(x, y[:, order], 16).conditional_entropy() > plain + 0.1


@pytest.fixture
def restored_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("restored_threads")
@pytest.mark.parametrize("levels", [16, 256])
def test_one_and_two_threads_agree(levels: int) -> None:
    torch.manual_seed(0)
    x = torch.rand(600, 10) * (levels - 1)
    y = (x + torch.randn(600, 10)).clamp(0, levels - 1)
    joints = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        joints.append(histogram(x, y, levels).joint())
    torch.testing.assert_close(*joints, rtol=0, atol=1e-14)


def test_misuse_is_refused() -> None:
    h = JointHistogram(16)
    with pytest.raises(ValueError, match=r"^no element was added, so there is no distribution$"):
        h.conditional_entropy()
    with pytest.raises(ValueError, match=r"^shapes differ: "):
        h.update(torch.zeros(2, 3), torch.zeros(2, 4), unit_grid(16), unit_grid(16))
    with pytest.raises(ValueError, match=r"^both grids need 16 levels$"):
        h.update(torch.zeros(2, 3), torch.zeros(2, 3), unit_grid(16), unit_grid(64))
