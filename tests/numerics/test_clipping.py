from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch

from qvlm.numerics.clipping import TailQuantiles, clip_error

PERCENTILES = (1.0, 0.995, 0.99, 0.985, 0.98)


def sorted_ranges(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The definition: order statistics of the sorted columns."""
    rising = x.float().sort(dim=0).values
    ranks = [math.ceil(Fraction(str(p)) * len(x)) for p in PERCENTILES]
    upper = torch.stack([rising[rank - 1] for rank in ranks])
    lower = torch.stack([rising[len(x) - rank] for rank in ranks])
    return lower, upper


@pytest.mark.parametrize("tokens", [1, 2, 49, 50, 51, 200, 1000])
def test_quantiles_are_the_order_statistics(tokens: int) -> None:
    torch.manual_seed(tokens)
    x = torch.randn(tokens, 7)
    tails = TailQuantiles(7, PERCENTILES, tokens)
    for chunk in torch.split(x, 33):
        tails.update(chunk)
    lower, upper = tails.ranges()
    expected_lower, expected_upper = sorted_ranges(x)
    assert torch.equal(lower, expected_lower)
    assert torch.equal(upper, expected_upper)
    assert torch.equal(upper[0], x.amax(0))


@pytest.mark.parametrize("parts", [(120,), (60, 60), (1, 118, 1)])
def test_merged_streams_are_as_if_one_had_seen_all(parts: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.randn(120, 3).round(decimals=1)
    whole = TailQuantiles(3, PERCENTILES, 120)
    for part in torch.split(x, parts):
        tails = TailQuantiles(3, PERCENTILES, 120)
        tails.update(part)
        assert tails.tails is not None
        whole.merge(*tails.tails, tails.seen)
    for bound, expected in zip(whole.ranges(), sorted_ranges(x), strict=True):
        assert torch.equal(bound, expected)
    with pytest.raises(ValueError, match="121 tokens seen, only 120"):
        whole.merge(x[:1].t(), x[:1].t(), 1)


def test_whole_ranks_are_not_moved_by_binary_fractions() -> None:
    # 0.98 * 200 = 196 exactly: of 0 .. 199 the 196th value is 195, its mirror 4.
    tails = TailQuantiles(1, PERCENTILES, 200)
    tails.update(torch.arange(200.0).unsqueeze(1))
    lower, upper = tails.ranges()
    assert upper.flatten().tolist() == [199, 198, 197, 196, 195]
    assert lower.flatten().tolist() == [0, 1, 2, 3, 4]
    # As a binary fraction 0.9 is above nine tenths, and rank 9 of 10 would become 10.
    tails = TailQuantiles(1, (0.9,), 10)
    tails.update(torch.arange(10.0).unsqueeze(1))
    assert tails.ranges()[1].item() == 8


def test_fewer_tokens_than_announced_are_counted_as_they_came() -> None:
    x = torch.randn(300, 3)
    tails = TailQuantiles(3, PERCENTILES, 10_000)
    tails.update(x)
    assert torch.equal(tails.ranges()[1], sorted_ranges(x)[1])


def test_order_and_batches_do_not_matter() -> None:
    x = torch.randn(500, 4)
    outcomes = []
    for order, size in [(torch.arange(500), 500), (torch.randperm(500), 7)]:
        tails = TailQuantiles(4, PERCENTILES, 500)
        for chunk in torch.split(x[order], size):
            tails.update(chunk)
        outcomes.append(torch.stack(tails.ranges()))
    assert torch.equal(*outcomes)


def test_what_is_given_may_change_afterwards() -> None:
    x = torch.arange(1.0, 7.0).view(3, 2)
    tails = TailQuantiles(2, (1.0, 0.6), 6)
    tails.update(x)
    x.zero_()
    assert tails.ranges()[1].tolist() == [[5, 6], [3, 4]]


def test_misuse_is_refused() -> None:
    tails = TailQuantiles(2, (1.0,), 3)
    with pytest.raises(ValueError, match=r"^no token was seen, so there is no range$"):
        tails.ranges()
    with pytest.raises(ValueError, match=r"^expected 2 channels, got 3$"):
        tails.update(torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"^4 tokens seen, only 3 were announced$"):
        tails.update(torch.zeros(4, 2))


def test_clip_error_worked_by_hand() -> None:
    x = torch.tensor([[0.0], [1.4], [15.0]])
    lower = torch.zeros(2, 1)
    upper = torch.tensor([[15.0], [7.5]])
    errors = clip_error(x, lower, upper, bits=4, symmetric=False, p=2.0)
    # D = 1: 1.4 -> 1. D = 0.5: 1.4 -> 1.5 and 15 -> 7.5.
    assert errors.tolist() == pytest.approx([0.16, 0.01 + 56.25], rel=1e-5)


def test_clip_error_of_one_range_for_all_channels() -> None:
    x = torch.randn(20, 6)
    lower, upper = torch.tensor([[-2.0]]), torch.tensor([[2.0]])
    whole = clip_error(x, lower, upper, 4, False, 2.4)
    spread = clip_error(x, lower.expand(1, 6), upper.expand(1, 6), 4, False, 2.4)
    assert whole.dtype == torch.float64
    assert torch.equal(whole, spread)
