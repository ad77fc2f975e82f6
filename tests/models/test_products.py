"""Products by oneDNN are those of PyTorch, and only where they are meant to be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from qvlm import machine
from qvlm.models import products

ROWS, MANY = products.MANY_ROWS, products.MANY_POSITIONS

pytestmark = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this PyTorch has no oneDNN"
)


@pytest.fixture(autouse=True)
def faster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    products.is_onednn_faster.cache_clear()
    monkeypatch.setattr(products, "is_onednn_faster", lambda: True)
    yield


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Shapes that went to oneDNN."""
    shapes: list[torch.Size] = []
    plain = torch.ops.mkldnn._linear_pointwise

    def spy(x: torch.Tensor, *rest: object) -> torch.Tensor:
        shapes.append(x.shape)
        return plain(x, *rest)

    monkeypatch.setattr(torch.ops.mkldnn, "_linear_pointwise", spy)
    return shapes


@pytest.mark.parametrize("shape", [(ROWS, 24), (4, ROWS // 4, 24), (2, 2, ROWS, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_same_sums(shape: tuple[int, ...], bias: bool, sent: list[torch.Size]) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(24, 40, bias=bias).requires_grad_(False)
    x = torch.randn(shape)
    with torch.no_grad(), products.fast_products(linear, MANY):
        found = linear(x)
        turned = linear(x.transpose(0, -2).contiguous().transpose(0, -2))
    assert sent == [x.shape] * 2
    torch.testing.assert_close(found, linear(x))
    torch.testing.assert_close(turned, found, rtol=0, atol=0)


def test_weights_of_any_layout(sent: list[torch.Size]) -> None:
    x, plain = torch.randn(ROWS, 24), torch.randn(40, 24)
    wide = torch.zeros(80, 48)
    wide[::2, ::2] = plain
    layouts = (plain, plain.t().contiguous().t(), wide[::2, ::2])
    with torch.no_grad(), products.fast_products(nn.Linear(2, 2), MANY):
        found = [F.linear(x, weight) for weight in layouts]
        vector = F.linear(x, plain[0])
    assert len(sent) == len(layouts)  # a vector is none of its business
    for one in found:
        torch.testing.assert_close(one, x @ plain.t())
    assert vector.shape == (ROWS,)


def test_few_rows_training_and_other_types_stay(sent: list[torch.Size]) -> None:
    linear = nn.Linear(24, 40)
    with products.fast_products(linear, MANY):
        linear(torch.randn(ROWS, 24)).sum().backward()
        with torch.no_grad():
            linear(torch.randn(ROWS - 1, 24))
            linear.bfloat16()(torch.randn(ROWS, 24, dtype=torch.bfloat16))
    assert sent == []
    assert linear.weight.grad is not None


def test_models_of_other_types_and_few_positions_get_no_mode() -> None:
    assert isinstance(products.fast_products(nn.Linear(2, 2), MANY), TorchFunctionMode)
    for model in (nn.Linear(2, 2).bfloat16(), nn.ReLU(), nn.Linear(2, 2, device="meta")):
        assert isinstance(products.fast_products(model, MANY), nullcontext)
    assert isinstance(products.fast_products(nn.Linear(2, 2), MANY - 1), nullcontext)


@pytest.mark.parametrize(
    ("vendor", "features", "expected"),
    [
        ("AuthenticAMD", ["avx2", "avx512f"], True),
        ("AuthenticAMD", ["avx2"], False),
        ("GenuineIntel", ["avx2", "avx512f"], False),
        ("", [], False),
    ],
)
def test_which_processors(
    monkeypatch: pytest.MonkeyPatch, vendor: str, features: list[str], expected: bool
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(machine, "processor_vendor", lambda: vendor)
    monkeypatch.setattr(machine, "processor_features", lambda: features)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    products.is_onednn_faster.cache_clear()
    assert products.is_onednn_faster() is expected
    products.is_onednn_faster.cache_clear()
