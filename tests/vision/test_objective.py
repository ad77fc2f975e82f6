"""The terms as functions of the vision tower: gradients, entropy weights, padding."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from qvlm.artefacts.calibration import PADDING, Batch
from qvlm.models.replay import catch_inputs
from qvlm.numerics.affine import grid_from_range
from qvlm.numerics.entropy import JointHistogram
from qvlm.observe import observe
from qvlm.vision.objective import Objective, links, references
from qvlm.vision.trace import trace
from tiny.vision import WEIGHT_LIMIT, Bench, keep_float64, leave_out_rounding

TERMS = ("answer", "entropy", "error")


def value(objective: Objective, term: str) -> torch.Tensor:
    """One term on all batches, for entropy weights of 1, 2, 3."""
    weights = torch.arange(1.0, 1.0 + len(links(objective.model_map)))
    return torch.stack(
        [getattr(objective.terms(i, weights), term) for i in range(len(objective.batches))]
    ).sum()


@pytest.mark.parametrize("term", TERMS)
def test_every_term_pulls_at_the_vision_tower_through_the_true_quantizers(
    tmp_path: Path, term: str
) -> None:
    with Bench(tmp_path / "d").objective() as (objective, parameters):
        gradients = torch.autograd.grad(value(objective, term), list(parameters.values()))
    # The bias of the keys adds the same to all scores of a query, which softmax takes away.
    named = {n: g for n, g in zip(parameters, gradients, strict=True) if "k_proj.bias" not in n}
    assert all(torch.isfinite(g).all() for g in named.values())
    assert [name for name, gradient in named.items() if not gradient.abs().max() > 0] == []


@pytest.mark.parametrize("term", TERMS)
def test_gradients_match_finite_differences_of_the_surrogate_without_rounding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, term: str
) -> None:
    """In float64, with rounding left out and all clamps in place (see `leave_out_rounding`)."""
    keep_float64(monkeypatch)
    with Bench(tmp_path / "d").objective(torch.float64) as (objective, parameters):
        tensors = list(parameters.values())
        linear = parameters["model.vision_tower.encoder.layers.0.mlp.fc1.weight"]
        folded = linear.abs() * objective_scale(objective)
        assert 0.01 < (folded > WEIGHT_LIMIT).double().mean() < 0.99, "some weights are clamped"
        leave_out_rounding(monkeypatch)
        gradients = torch.autograd.grad(value(objective, term), tensors)
        generator = torch.Generator().manual_seed(1)
        for _ in range(3):
            direction = [torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in tensors]
            expected = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True))
            found = slope(lambda: value(objective, term), tensors, direction, step=1e-8)
            assert found == pytest.approx(expected.item(), rel=1e-5)


def objective_scale(objective: Objective) -> torch.Tensor:
    """Step of the grid that the first layer's fc1 reads."""
    scale: torch.Tensor = objective.model.model.vision_tower.encoder.layers[0].mlp.fc1.grid.scale
    return scale


@torch.no_grad()
def slope(
    of: Callable[[], torch.Tensor],
    tensors: list[torch.Tensor],
    direction: list[torch.Tensor],
    step: float,
) -> float:
    """Central difference of a function of these tensors, along a direction."""
    values = []
    for sign in (1, -1):
        for tensor, d in zip(tensors, direction, strict=True):
            tensor += sign * step * d
        values.append(of().item())
        for tensor, d in zip(tensors, direction, strict=True):
            tensor -= sign * step * d
    return (values[0] - values[1]) / (2 * step)


def test_the_entropy_weights_are_the_norms_of_the_jacobian(tmp_path: Path) -> None:
    with Bench(tmp_path / "d").objective() as (objective, _):
        model, batch = objective.model, objective.batches[0]
        found = objective.jacobian_norms(0)
        tower = objective.model_map.tower("language")
        inputs = catch_inputs(model, objective.model_map.towers, batch)["language"]
        hidden = inputs.hidden
        for layer, weight in enumerate(found):

            def error(x: torch.Tensor, layer: int = layer) -> torch.Tensor:
                for index in range(layer, len(tower.layers)):
                    args, kwargs = inputs.arguments[index]
                    x = model.get_submodule(tower.layers[index])(x, *args, **kwargs)
                x = model.get_submodule("model.language_model.norm")(x)
                return (x[batch.valid] - objective.original.hidden[0]).square().sum().sqrt()

            jacobian: Any = torch.autograd.functional.jacobian(error, hidden.detach())
            assert weight.item() == pytest.approx(jacobian.square().sum().sqrt().item(), rel=1e-4)
            args, kwargs = inputs.arguments[layer]
            hidden = model.get_submodule(tower.layers[layer])(hidden, *args, **kwargs)
        assert len(found) == len(tower.layers) - 1
        assert not found.requires_grad


def test_the_dependency_is_that_of_the_exact_model_without_padding(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d")
    with torch.no_grad():
        seen = [trace(bench.model, bench.model_map, b, answers=False) for b in bench.images]
    everything = [torch.cat(parts) for parts in zip(*(s.leaders for s in seen), strict=True)]
    of = [grid_from_range(x.amin(0), x.amax(0), 4) for x in everything]
    with bench.objective() as (objective, _):
        found = [x.item() for x in objective.dependency(1)]
    expected = []
    for k in range(3):
        histogram = JointHistogram(16)
        histogram.update(seen[1].leaders[k], seen[1].leaders[k + 1], of[k], of[k + 1])
        expected.append(histogram.conditional_entropy())
    assert found == pytest.approx(expected, rel=1e-5)


def test_over_one_batch_it_is_what_the_observe_stage_measures(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d")
    bench.images = bench.images[:1]
    stats = observe(bench.model, bench.model_map, bench.recipe, bench.images)
    with bench.objective() as (objective, _):
        found = [x.item() for x in objective.dependency(0)]
    assert found == pytest.approx(list(stats.dependency["language"]), rel=1e-5)


def test_padding_changes_no_term_and_no_weight(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d")
    batch = bench.images[0]
    bench.images = [batch, padded(batch, 7)]
    with bench.objective() as (objective, _):
        weights = torch.tensor([1.0, 2.0, 3.0])
        one, two = (objective.terms(index, weights) for index in (0, 1))
        for term in TERMS:
            assert getattr(one, term).item() == pytest.approx(getattr(two, term).item(), rel=1e-4)
        torch.testing.assert_close(
            objective.jacobian_norms(0), objective.jacobian_norms(1), rtol=1e-3, atol=0
        )


def padded(batch: Batch, columns: int) -> Batch:
    def longer(x: torch.Tensor, fill: int) -> torch.Tensor:
        return torch.nn.functional.pad(x, (0, columns), value=fill)

    inputs = {
        name: longer(x, 0) if name in ("input_ids", "attention_mask") else x
        for name, x in batch.inputs.items()
    }
    return Batch(inputs, longer(batch.modality, PADDING), longer(batch.labels, -100))


def test_the_answer_term_is_the_loss_that_transformers_computes(tmp_path: Path) -> None:
    with Bench(tmp_path / "d").objective() as (objective, _):
        batch = objective.batches[0]
        found = objective.terms(0, torch.empty(0)).answer.item()
        expected = objective.model(**batch.inputs, labels=batch.labels).loss.item()
    assert found == pytest.approx(expected, rel=1e-5)


def test_the_references_are_the_original_models_and_stay(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d")
    with torch.no_grad():
        output = bench.model(**bench.images[0].inputs, output_hidden_states=True)
    with bench.objective() as (objective, parameters):
        before = objective.original.vision[0].clone()
        with torch.no_grad():
            for parameter in parameters.values():
                parameter += 0.1
        objective.terms(0, torch.empty(0))
        assert torch.equal(objective.original.vision[0], before)
        valid = bench.images[0].valid
        torch.testing.assert_close(objective.original.hidden[0], output.hidden_states[-1][valid])


def test_a_layer_left_in_floating_point_has_no_link(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d")
    assert links(bench.model_map) == (0, 1, 2)
    kept = tuple(s for s in bench.model_map.sites if (s.tower, s.layer) != ("language", 1))
    bench.model_map = bench.model_map.model_copy(update={"sites": kept})
    assert links(bench.model_map) == (1,)
    with bench.objective() as (objective, _):
        assert len(objective.dependency(0)) == len(objective.jacobian_norms(0)) == 1


def test_per_tensor_language_grids_span_all_channels(tmp_path: Path) -> None:
    from tiny.vision import PER_TENSOR

    bench = Bench(tmp_path / "d")
    recipe = bench.recipe.model_copy(update={"language": PER_TENSOR})
    original = references(bench.model, bench.model_map, recipe, bench.images)
    assert [grid.scale.shape for grid in original.grids] == [(1,)] * 4
