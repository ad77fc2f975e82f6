"""Second moments of a site's inputs and their factorization."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from qvlm.numerics import hessian
from qvlm.numerics.hessian import Hessian, error_feedback
from qvlm.numerics.rounding import proxy_loss, round_gptq


def streamed(x: torch.Tensor, weights: torch.Tensor | None = None, piece: int = 7) -> Hessian:
    hessian = Hessian(x.shape[1])
    for start in range(0, len(x), piece):
        part = None if weights is None else weights[start : start + piece]
        hessian.update(x[start : start + piece], part)
    return hessian


def test_a_stream_sums_weighted_outer_products() -> None:
    torch.manual_seed(0)
    x, weights = torch.randn(40, 6), torch.rand(40)
    expected = sum(w * torch.outer(t, t) for w, t in zip(weights, x, strict=True))
    torch.testing.assert_close(streamed(x, weights).matrix, expected)
    torch.testing.assert_close(streamed(x).matrix, x.t() @ x)


def test_merged_parts_add_up_in_their_order_to_the_bit() -> None:
    torch.manual_seed(0)
    batches = torch.randn(3, 20, 6)
    batches[..., 4] = 0
    whole, sums = Hessian(6), Hessian(6)
    assert sums.is_empty
    for batch in batches:
        whole.update(batch)
        part = streamed(batch, piece=20)
        sums.merge(part.matrix, part.dead)
    assert torch.equal(sums.matrix, whole.matrix)
    assert torch.equal(sums.dead, whole.dead)
    assert whole.dead.tolist() == [False] * 4 + [True, False]


def test_tokens_of_weight_zero_leave_no_trace_but_keep_a_channel_alive() -> None:
    x = torch.tensor([[1.0, 0.0, 0.0], [2.0, 5.0, 0.0]])
    hessian = streamed(x, torch.tensor([1.0, 0.0]))
    assert hessian.matrix.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]
    assert hessian.dead.tolist() == [False, False, True]


def test_without_a_token_all_is_zero_and_dead() -> None:
    hessian = Hessian(3)
    assert not hessian.matrix.any()
    assert hessian.dead.all()


def test_nothing_seen_lies_where_it_was_asked_for() -> None:
    """An expert without a token, on a GPU."""
    empty = Hessian(3, torch.device("meta"))
    assert {empty.matrix.device.type, empty.dead.device.type} == {"meta"}


def test_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 3 channels, got 4"):
        Hessian(3).update(torch.zeros(2, 4))


@pytest.mark.parametrize("shrinkage", [0.0, 0.3])
@pytest.mark.parametrize("activation_order", [False, True], ids=["in order", "by activation"])
def test_feedback_is_the_normalized_factor_of_the_inverse(
    activation_order: bool, shrinkage: float
) -> None:
    torch.manual_seed(1)
    x = torch.randn(50, 9) * torch.arange(1, 10)
    matrix = x.t() @ x
    found = error_feedback(matrix, 0.02, activation_order, shrinkage)
    matrix = (1 - shrinkage) * matrix + shrinkage * matrix.diag().diag()
    if activation_order:
        assert found.order is not None
        assert matrix.diagonal()[found.order].diff().le(0).all()
        matrix = matrix[found.order][:, found.order]
    else:
        assert found.order is None
    damped = matrix.double() + 0.02 * matrix.diagonal().double().mean() * torch.eye(9)
    upper = torch.linalg.cholesky(torch.linalg.inv(damped), upper=True)
    expected = upper / upper.diagonal().unsqueeze(-1)
    torch.testing.assert_close(found.feedback, expected.float())
    assert found.damping == 0.02


def test_whole_shrinkage_feeds_no_error_anywhere() -> None:
    torch.manual_seed(0)
    matrix = streamed(torch.randn(20, 9)).matrix
    torch.testing.assert_close(error_feedback(matrix, shrinkage=1.0).feedback, torch.eye(9))


def test_shrinkage_helps_on_other_tokens_where_few_were_seen() -> None:
    """Channels that do not depend on each other, twice as many tokens as channels."""
    torch.manual_seed(0)
    width, weight = 64, torch.randn(256, 64)
    seen = streamed(torch.randn(2 * width, width))
    others = streamed(torch.randn(100 * width, width)).matrix

    def loss(shrinkage: float) -> float:
        feedback = error_feedback(seen.matrix, shrinkage=shrinkage)
        rounded = round_gptq(weight, seen, feedback, bits=3, group_size=None, symmetric=False)
        return float(proxy_loss(weight, rounded.weight, others).sum())

    assert loss(0.3) < 0.95 * loss(0.0)


@pytest.mark.parametrize("width", [16, 17, 40])
def test_panels_make_no_difference(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    matrix = streamed(torch.randn(60, width)).matrix
    whole = error_feedback(matrix)
    monkeypatch.setattr(hessian, "_PANEL", 8)
    torch.testing.assert_close(error_feedback(matrix).feedback, whole.feedback, atol=0, rtol=1e-6)


def test_memory_is_what_was_announced() -> None:
    """In a process of its own, whose peak is that of the factorization."""
    width = 3000
    program = f"""
import ctypes, torch
from qvlm.machine import peak_rss_bytes
from qvlm.numerics.hessian import error_feedback
getattr(ctypes.CDLL(None), "mallopt", lambda *_: 0)(-3, 1 << 20)
torch.manual_seed(0)
error_feedback(torch.eye(256))
rows = torch.randn(8, {width})
matrix = rows.t() @ rows
before = peak_rss_bytes()
error_feedback(matrix)
print(peak_rss_bytes() - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    announced = hessian.factorization_bytes(width)
    assert 0.7 * announced < int(done.stdout) < 1.1 * announced


def test_a_singular_hessian_is_damped_until_it_has_a_factor() -> None:
    x = torch.randn(1, 12, generator=torch.Generator().manual_seed(2))
    found = error_feedback(x.t() @ x, damping=0.0)
    assert found.damping > 0
    assert torch.isfinite(found.feedback).all()
    assert error_feedback(x.t() @ x, damping=0.01).damping == 0.01


def test_an_indefinite_hessian_ends_too() -> None:
    found = error_feedback(torch.tensor([[1.0, 3.0], [3.0, 1.0]]), damping=0.01)
    assert found.damping == pytest.approx(10.0)


def test_no_inputs_feed_nothing_forward() -> None:
    assert torch.equal(error_feedback(torch.zeros(4, 4)).feedback, torch.eye(4))


def test_a_condition_of_1e8_stays_finite() -> None:
    torch.manual_seed(3)
    x = torch.randn(400, 32)
    x[:, 5] *= 1e4
    matrix = x.t() @ x
    assert torch.linalg.cond(matrix.double()) > 1e8
    for damping in (0.0, 0.01):
        assert torch.isfinite(error_feedback(matrix, damping).feedback).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_no_numbers_are_refused(value: float) -> None:
    matrix = torch.eye(3)
    matrix[1, 1] = value
    with pytest.raises(ValueError, match="NaN or infinity"):
        error_feedback(matrix)
