"""Straight-through linears: the simulated forward bit for bit, the identity's gradient."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import nn

from qvlm.numerics.affine import grid_from_range
from qvlm.runtime import SimulatedLinear, quantize_linear
from qvlm.schemes import ActivationScheme, LayerScheme, WeightScheme
from qvlm.vision.straight_through import (
    FixedQuantizedLinear,
    Switch,
    TrainableQuantizedLinear,
    straight_through,
)
from tiny.vision import PER_TOKEN, Bench

Granularity = Literal["per_channel", "per_tensor", "per_token", "per_group", "per_group_rotated"]
CASES = [
    *itertools.product((4, 8), ("per_channel", "per_tensor", "per_token"), (None, 16)),
    *itertools.product((4, 8), ("per_group", "per_group_rotated"), (16,)),
]
IDS = [f"{bits}-bit {granularity} group={group}" for bits, granularity, group in CASES]
KINDS = pytest.mark.parametrize("kind", [TrainableQuantizedLinear, FixedQuantizedLinear])


def build(bits: int, granularity: Granularity, group: int | None, share: float = 1.0, **more):
    """A linear, its input, its scheme, the group size and the static grid of a share of x."""
    torch.manual_seed(bits)
    linear = nn.Linear(48, 20)
    x = torch.randn(3, 7, 48) * torch.logspace(-2, 1, 48) + 0.3
    scheme = LayerScheme(
        weights=WeightScheme(
            bits=bits,
            granularity="per_channel" if group is None else "per_group",
            group_size=group,
            **more,
        ),
        activations=ActivationScheme(bits=bits, granularity=granularity),
    )
    grid = None
    if scheme.activations.is_static:
        flat = share * x.reshape(-1, 48 if granularity == "per_channel" else 1)
        grid = grid_from_range(flat.amin(0), flat.amax(0), bits)
    return linear, x, scheme, group or 48, grid


@KINDS
@pytest.mark.parametrize(("bits", "granularity", "group"), CASES, ids=IDS)
def test_the_output_is_that_of_the_simulated_linear(kind, bits, granularity, group) -> None:
    linear, x, scheme, size, grid = build(bits, granularity, group, share=0.8)
    expected = SimulatedLinear(quantize_linear(linear, scheme, size, grid))(x)
    switch = Switch()
    module = kind(linear, scheme, size, grid, switch)
    assert torch.equal(module(x), expected)
    with switch.to(quantized=False):
        assert torch.equal(module(x), linear(x))
    assert torch.equal(module(x), expected)


@KINDS
@pytest.mark.parametrize("symmetric", [False, True], ids=["asymmetric", "symmetric"])
def test_floating_point_activations_and_no_bias(kind, symmetric: bool) -> None:
    linear, x, scheme, size, _ = build(4, "per_token", 16, symmetric=symmetric, clipping="lp")
    linear.bias = None
    scheme = scheme.model_copy(update={"activations": ActivationScheme(bits=16)})
    expected = SimulatedLinear(quantize_linear(linear, scheme, size, None))(x)
    assert torch.equal(kind(linear, scheme, size, None, Switch())(x), expected)


@KINDS
@pytest.mark.parametrize("granularity", ["per_channel", "per_tensor"])
def test_static_inputs_get_the_weights_gradient_inside_of_the_range_and_none_outside(
    kind, granularity: Granularity
) -> None:
    linear, x, scheme, size, grid = build(4, granularity, 16, share=0.5)
    assert grid is not None
    x.requires_grad_()
    kind(linear, scheme, size, grid, Switch())(x).sum().backward()
    weight = SimulatedLinear(quantize_linear(linear, scheme, size, grid)).weight / grid.scale
    level = torch.round(x.detach() / grid.scale) + grid.zero_point
    inside = (level >= 0) & (level <= 15)
    assert 0.1 < inside.float().mean() < 0.99
    torch.testing.assert_close(x.grad, torch.where(inside, weight.sum(0), 0.0))


@KINDS
def test_inputs_with_a_range_per_token_all_get_a_gradient(kind) -> None:
    linear, x, scheme, size, _ = build(8, "per_token", None)
    x.requires_grad_()
    kind(linear, scheme, size, None, Switch())(x).sum().backward()
    weight = quantize_linear(linear, scheme, size, None).weight.dequantized()
    # An end of the range may be clamped when the zero point was rounded: one value of a token.
    assert x.grad is not None
    expected = weight.sum(0).expand_as(x)
    assert ((x.grad - expected).abs() > 1e-5).sum(-1).max() <= 1
    assert (x.grad != 0).float().mean() > 0.97


def test_weights_get_the_inputs_sum_where_they_are_not_clamped() -> None:
    linear, x, scheme, size, grid = build(4, "per_channel", 16, clipping="lp")
    assert grid is not None
    TrainableQuantizedLinear(linear, scheme, size, grid, Switch())(x).sum().backward()
    weight = quantize_linear(linear, scheme, size, grid).weight
    folded = linear.weight.detach() * grid.scale
    step = weight.scale.repeat_interleave(16, dim=1)
    inside = (folded - weight.dequantized()).abs() <= step / 2
    assert 0 < (~inside).float().mean() < 0.2, "lp clipping leaves some outside"
    level = torch.round(x / grid.scale) + grid.zero_point
    sums = (level.clamp(0, 15) - grid.zero_point).sum((0, 1)) * grid.scale
    torch.testing.assert_close(linear.weight.grad, torch.where(inside, sums, 0.0))
    assert linear.bias.grad is not None
    torch.testing.assert_close(linear.bias.grad, torch.full((20,), 21.0))


@pytest.mark.parametrize("vision", [None, PER_TOKEN], ids=["vision in float", "vision per token"])
def test_a_whole_model_gives_the_logits_that_the_search_would_see(tmp_path: Path, vision) -> None:
    from qvlm.observe import observe
    from qvlm.search import Installer

    bench = Bench(tmp_path / "d", vision)
    model, batch = bench.model, bench.images[0]
    stats = observe(model, bench.model_map, bench.recipe, bench.batches)
    installer = Installer(model, bench.model_map, bench.recipe, stats)
    with torch.no_grad():
        exact = model(**batch.inputs).logits
        for site in bench.model_map.sites:
            installer.install(site, 0)
        expected = model(**batch.inputs).logits
        installer.restore()
        with straight_through(model, bench.model_map, bench.recipe, bench.grids) as switch:
            assert torch.equal(model(**batch.inputs).logits, expected)
            with switch.to(quantized=False):
                assert torch.equal(model(**batch.inputs).logits, exact)
        assert not torch.equal(exact, expected)
        assert torch.equal(model(**batch.inputs).logits, exact), "linears are put back"


def test_linears_are_put_back_after_an_error(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d")
    before = dict(bench.model.named_modules())
    with (
        pytest.raises(KeyboardInterrupt),
        straight_through(bench.model, bench.model_map, bench.recipe, bench.grids),
    ):
        raise KeyboardInterrupt
    assert dict(bench.model.named_modules()) == before
