from __future__ import annotations

import pytest
import torch

from qvlm.numerics.accumulate import (
    combine,
    combine_groups,
    float_accumulators,
    integer_accumulators,
)
from qvlm.numerics.weights import QuantizedWeight, quantize_weight


def by_hand(q: torch.Tensor, weight: QuantizedWeight) -> list[list[list[int]]]:
    """SUM_c q v - u SUM_c q with Python's integers."""
    size, (rows, width) = weight.group_size, weight.levels.shape
    q_list, v_list, u_list = q.tolist(), weight.levels.tolist(), weight.zero_point.tolist()
    return [
        [
            [
                sum(q_list[t][c] * v_list[o][c] for c in range(g * size, g * size + size))
                - u_list[o][g] * sum(q_list[t][g * size : g * size + size])
                for o in range(rows)
            ]
            for t in range(len(q_list))
        ]
        for g in range(width // size)
    ]


def uniform_weight(level: int, zero_point: int, width: int) -> QuantizedWeight:
    """Two equal rows, one group."""
    return QuantizedWeight(
        levels=torch.full((2, width), level, dtype=torch.uint8),
        scale=torch.ones(2, 1),
        zero_point=torch.full((2, 1), zero_point, dtype=torch.uint8),
        bits=8,
        group_size=width,
        symmetric=False,
    )


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize(("width", "group"), [(5, 5), (12, 3), (30, 10)])
def test_both_forms_are_the_exact_integers(width: int, group: int, bits: int) -> None:
    torch.manual_seed(bits)
    q = torch.randint(0, 2**bits, (4, width), dtype=torch.uint8)
    weight = quantize_weight(
        torch.randn(3, width), bits=bits, group_size=group, symmetric=bool(bits % 2)
    )
    expected = by_hand(q, weight)
    integers = integer_accumulators(q, weight)
    assert integers.dtype == torch.int32
    assert integers.tolist() == expected
    assert float_accumulators(q, weight).tolist() == expected


def test_sums_beyond_24_bits_stay_exact() -> None:
    width = 601
    weight = uniform_weight(255, 0, width)
    q = torch.full((1, width), 255, dtype=torch.uint8)
    q[0, 0] = 254
    exact = 255 * 255 * width - 255  # odd and above 2^24: no float32
    assert integer_accumulators(q, weight).flatten().tolist() == [exact, exact]
    floats = float_accumulators(q, weight)
    assert floats.dtype == torch.float64
    assert floats.flatten().tolist() == [exact, exact]


def test_the_widest_group_of_a_large_model_fits_int32() -> None:
    width = 28_672  # the MLP of a 70B model, one group
    q = torch.full((1, width), 255, dtype=torch.uint8)
    for level, zero_point, product in [(255, 0, 255 * 255), (0, 255, -255 * 255)]:
        weight = uniform_weight(level, zero_point, width)
        assert integer_accumulators(q, weight).flatten().tolist() == [product * width] * 2


def test_outputs_of_both_forms_agree_bit_for_bit() -> None:
    torch.manual_seed(0)
    for bits, group in [(4, 32), (8, 96), (8, 960)]:
        q = torch.randint(0, 2**bits, (37, 960), dtype=torch.uint8)
        weight = quantize_weight(torch.randn(19, 960), bits=bits, group_size=group, symmetric=False)
        one = combine(integer_accumulators(q, weight), weight.scale)
        other = combine(float_accumulators(q, weight), weight.scale)
        assert torch.equal(one, other)


def test_combine_adds_groups_in_order_in_double_precision() -> None:
    # In float32 the middle value would be lost: 2^24 + 1 - 2^24 = 0.
    accumulators = torch.tensor([[[2**24]], [[1]], [[-(2**24)]]], dtype=torch.int32)
    assert combine(accumulators, torch.ones(1, 3)).tolist() == [[1.0]]


@pytest.mark.parametrize("sign", [1, -1])
def test_groups_are_added_with_one_rounding(sign: int) -> None:
    """1 + 2^-23 +- 2^-24 (1 - 2^-46) lies 2^-70 on the near side of the middle of two floats.

    A sum in float64 loses that, lands on the middle and goes to the even, far one.
    """
    accumulators = torch.tensor([[[2**23 + 1]], [[sign * (2**23 - 1)]]], dtype=torch.int32)
    total = combine_groups(
        accumulators,
        scale=torch.tensor([[1.0, 2.0**-23]]),
        group_sums=torch.zeros(1, 2, dtype=torch.int16),
        zero_point=torch.zeros(1, 2, 1),
        input_scale=torch.tensor([[[2.0**-23], [2.0**-24 * (1 + 2.0**-23)]]]),
    )
    assert total.item() == 1 + 2.0**-23


@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_a_token_that_is_not_finite_gives_nothing_finite(bad: float) -> None:
    total = combine_groups(
        torch.ones(2, 1, 1, dtype=torch.int32),
        scale=torch.ones(1, 2),
        group_sums=torch.zeros(1, 2, dtype=torch.int16),
        zero_point=torch.zeros(1, 2, 1),
        input_scale=torch.tensor([[[bad], [1.0]]]),
    )
    assert not torch.isfinite(total).any()


def test_no_tokens_give_no_outputs() -> None:
    weight = uniform_weight(3, 1, 4)
    q = torch.zeros(0, 4, dtype=torch.uint8)
    for form in (integer_accumulators, float_accumulators):
        assert combine(form(q, weight), weight.scale).shape == (0, 2)


@pytest.mark.parametrize("width", [33_025, 33_030, 66_052])
def test_sums_beyond_32_bits_are_exact_too(width: int) -> None:
    q = torch.full((1, width), 255, dtype=torch.uint8)
    for weight in (uniform_weight(255, 0, width), uniform_weight(0, 255, width)):
        expected = 255 * 255 * width * (1 if weight.levels.any() else -1)
        assert integer_accumulators(q, weight).flatten().tolist() == [expected] * 2
        assert float_accumulators(q, weight).flatten().tolist() == [expected] * 2
