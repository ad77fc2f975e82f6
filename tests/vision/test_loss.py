"""The three terms and their sum, worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from qvlm.vision.loss import LossTerms, answer_term, entropy_term, error_term, final_error


def terms() -> LossTerms:
    return LossTerms(
        answer=torch.tensor(2.0),
        entropy=torch.tensor(3.0, dtype=torch.float64),
        error=torch.tensor(5.0),
    )


def test_the_total_is_the_weighted_sum() -> None:
    assert terms().total(0.1, 10.0).item() == pytest.approx(2 + 0.1 * 3 + 10 * 5)


def test_a_higher_entropy_makes_a_higher_loss() -> None:
    low, high = (
        LossTerms(torch.tensor(1.0), torch.tensor(e), torch.tensor(1.0)) for e in (2.0, 2.5)
    )
    assert high.total(0.1, 1.0) - low.total(0.1, 1.0) == pytest.approx(0.05)


def test_without_weights_the_total_is_the_answer_loss() -> None:
    assert terms().total(0.0, 0.0).item() == 2.0
    unmeasured = LossTerms(torch.tensor(2.0), None, torch.tensor(math.nan))
    assert unmeasured.total(0.5, 0.0).item() == 2.0


def test_the_answer_term_is_the_mean_negative_log_likelihood() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [0.0, 0.0]])
    expected = (math.log(4 / 3) + math.log(2)) / 2
    assert answer_term(logits, torch.tensor([1, 0])).item() == pytest.approx(expected)


def test_the_entropy_term_weighs_each_link_by_a_constant() -> None:
    links = [torch.tensor(2.0, requires_grad=True), torch.tensor(3.0, requires_grad=True)]
    weights = torch.tensor([10.0, 1.0], requires_grad=True)
    value = entropy_term(links, weights)
    value.backward()
    assert value.item() == 23.0
    assert [link.grad.item() for link in links if link.grad is not None] == [10.0, 1.0]
    assert weights.grad is None


def test_the_error_term_is_relative_to_the_references() -> None:
    vision_r, hidden_r = torch.full((2, 3, 4), 2.0), torch.full((5, 6), -1.0)
    value = error_term(1.5 * vision_r, vision_r, 0.9 * hidden_r, hidden_r, output_weight=3.0)
    assert value.item() == pytest.approx(0.5 + 3 * 0.1)
    assert error_term(vision_r, vision_r, hidden_r, hidden_r, 1.0).item() == 0.0
    zeros = torch.zeros(2, 2)
    assert error_term(zeros, zeros, zeros, zeros, 1.0).item() == 0.0


def test_an_exact_start_has_a_gradient_without_nan() -> None:
    x = torch.ones(3, 4, requires_grad=True)
    error_term(x, x.detach(), x, x.detach(), 1.0).backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.zeros(3, 4))


def test_the_final_error_has_a_gradient_of_norm_one() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(final_error(x, torch.zeros(3, 4)), x)
    assert torch.linalg.vector_norm(gradient).item() == pytest.approx(1.0)
