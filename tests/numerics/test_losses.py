from __future__ import annotations

import math

import pytest
import torch

from qvlm.numerics.losses import answer_loss, kl_to_reference, l2_error, normalized_error


def test_l2_error_worked_by_hand() -> None:
    x_q, x_r = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[1.0, 0.0], [3.0, 1.0]])
    assert l2_error(x_q, x_r).item() == pytest.approx((4 / 2 + 10 / 2) / 2)
    weights = torch.tensor([3.0, 1.0])
    assert l2_error(x_q, x_r, weights).item() == pytest.approx((3 * 2 + 5) / 4)


def test_normalized_error_does_not_see_the_length_of_a_token() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 32)
    lengths = torch.tensor([[1.0], [400.0], [3.0], [0.1]])
    assert normalized_error(lengths * x, x).item() == pytest.approx(0.0, abs=1e-6)
    assert normalized_error(-x, x).item() == pytest.approx(4.0, rel=1e-4)


def test_a_massive_channel_rules_l2_but_not_the_normalized_error() -> None:
    x_r = torch.ones(2, 8)
    x_r[0, 0] = 400.0
    x_q = x_r.clone()
    x_q[0, 0] += 40.0  # a tenth of a massive channel
    x_q[1, 0] += 1.0  # all of a plain one
    only_first, only_second = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert l2_error(x_q, x_r, only_first) > 100 * l2_error(x_q, x_r, only_second)
    assert normalized_error(x_q, x_r, only_first) < normalized_error(x_q, x_r, only_second)


def test_a_token_without_weight_does_not_count() -> None:
    x_q, x_r = torch.randn(3, 5), torch.randn(3, 5)
    weighted = normalized_error(x_q, x_r, torch.tensor([1.0, 0.0, 1.0]))
    kept = torch.tensor([0, 2])
    torch.testing.assert_close(weighted, normalized_error(x_q[kept], x_r[kept]))


def test_answer_loss_looks_one_position_back() -> None:
    logits = torch.zeros(1, 3, 4)
    logits[0, 0, 2] = math.log(5.0)  # predicts position 1: p(2) = 5 / 8
    labels = torch.tensor([[-100, 2, 3]])  # position 2 is predicted evenly: 1 / 4
    total, count = answer_loss(logits, labels)
    assert count == 2
    assert total.item() == pytest.approx(math.log(8 / 5) + math.log(4))


def test_answer_loss_without_answers_is_zero() -> None:
    total, count = answer_loss(torch.randn(2, 5, 7), torch.full((2, 5), -100))
    assert (total.item(), count) == (0.0, 0)


def test_kl_worked_by_hand_at_the_masked_positions() -> None:
    logits_r = torch.log(torch.tensor([[[0.5, 0.5], [0.9, 0.1]]]))
    logits_q = torch.log(torch.tensor([[[0.25, 0.75], [0.1, 0.9]]]))
    total, count = kl_to_reference(logits_q, logits_r, torch.tensor([[True, False]]))
    assert count == 1
    assert total.item() == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3), rel=1e-5)


def test_kl_of_equal_logits_is_zero() -> None:
    logits = torch.randn(2, 3, 11)
    mask = torch.ones(2, 3, dtype=torch.bool)
    assert kl_to_reference(logits + 3.0, logits, mask)[0].item() == pytest.approx(0.0, abs=1e-5)
