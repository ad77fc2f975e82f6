"""Training the tower: what moves, what stays, which epoch is kept, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from qvlm.errors import ArtefactError, DataError, RecipeError
from qvlm.schemes import LayerScheme
from qvlm.vision import apply_tensors, optimize_vision
from qvlm.vision.straight_through import straight_through
from qvlm.vision.trace import recomputed, trace
from tiny.llava import tiny_llava
from tiny.vision import PER_TOKEN, Bench

FAST = {"epochs": 2, "learning_rate": 1e-4}


def state(model: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(before: dict[str, torch.Tensor], model: Any) -> set[str]:
    return {n for n, x in model.state_dict().items() if not torch.equal(x, before[n])}


def test_only_what_the_vision_output_depends_on_changes(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d", PER_TOKEN, **FAST)
    before, modules = state(bench.model), dict(bench.model.named_modules())
    record, tensors = bench.train()
    moved = changed(before, bench.model)
    assert record.chosen_epoch > 0
    assert moved <= set(tensors)
    assert all(name.startswith("model.vision_tower.") for name in tensors)
    # Beyond the linears: embeddings, norms and biases; nothing of the layer that is never read.
    assert {
        "model.vision_tower.embeddings.patch_embedding.weight",
        "model.vision_tower.embeddings.position_embedding.weight",
        "model.vision_tower.pre_layrnorm.bias",
        "model.vision_tower.encoder.layers.1.layer_norm2.weight",
        "model.vision_tower.encoder.layers.1.mlp.fc2.bias",
    } <= moved
    assert not any("layers.2." in name or "post_layernorm" in name for name in tensors)
    assert record.parameters == sum(tensor.numel() for tensor in tensors.values())
    assert dict(bench.model.named_modules()) == modules
    assert all(p.requires_grad and p.grad is None for p in bench.model.parameters())


def test_the_record_tells_how_far_the_tower_moved(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d", **FAST)
    before = state(bench.model)
    record, tensors = bench.train()
    moved = torch.cat([(x - before[n]).flatten().double() for n, x in tensors.items()])
    size = torch.cat([before[n].flatten().double() for n in tensors])
    assert record.change_norm == pytest.approx(moved.norm().item(), rel=1e-6)
    assert record.relative_change == pytest.approx((moved.norm() / size.norm()).item(), rel=1e-6)


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_without_entropy_and_error_it_is_plain_fine_tuning(tmp_path: Path) -> None:
    """The same weights as AdamW on the loss that Transformers computes, in a loop written here.

    On one thread both ways sum alike, to the bit. Where sums differ in their last bits, AdamW makes
    whole steps of a gradient that is nothing but noise, values change level, and ways part.
    """
    weights = {"entropy_weight": 0.0, "error_weight": 0.0}
    bench = Bench(tmp_path / "a", epochs=1, learning_rate=1e-3, **weights)
    start = state(bench.model)
    _, tensors = optimize_vision(
        bench.model, bench.model_map, bench.recipe, bench.grids, bench.images, bench.images
    )
    assert changed(start, bench.model)
    plain = Bench(tmp_path / "b")
    named = dict(plain.model.named_parameters())
    optimizer = torch.optim.AdamW([named[n] for n in tensors], lr=1e-3, weight_decay=0.0)
    order = torch.randperm(2, generator=torch.Generator().manual_seed(0)).tolist()
    with straight_through(plain.model, plain.model_map, plain.recipe, plain.grids):
        for index in order:
            optimizer.zero_grad()
            batch = plain.images[index]
            plain.model(**batch.inputs, labels=batch.labels).loss.backward()
            optimizer.step()
    for name, tensor in tensors.items():
        if name.endswith("k_proj.bias"):
            continue  # softmax takes its gradient away, and AdamW makes steps of what noise is left
        # The first steps have the size of the learning rate, 1e-3: compare far below that.
        torch.testing.assert_close(tensor, named[name].detach(), rtol=0, atol=1e-5)


def test_two_runs_give_the_same_bytes_and_another_seed_another_order(tmp_path: Path) -> None:
    runs = []
    for number, seed in enumerate((0, 0, 3)):
        bench = Bench(tmp_path / str(number), **FAST)
        bench.recipe = bench.recipe.model_copy(update={"seed": seed})
        runs.append(
            optimize_vision(
                bench.model, bench.model_map, bench.recipe, bench.grids, bench.images, bench.images
            )
        )
    (one, first), (two, second), (other, third) = runs
    assert all(first[name].numpy().tobytes() == x.numpy().tobytes() for name, x in second.items())
    assert one.epochs == two.epochs
    assert one.epochs != other.epochs
    assert any(not torch.equal(first[name], x) for name, x in third.items())


def test_saved_tensors_give_a_fresh_model_the_same_weights(tmp_path: Path) -> None:
    from qvlm.artefacts.tensors import read_tensors, write_tensors

    bench = Bench(tmp_path / "d", PER_TOKEN, **FAST)
    _, tensors = bench.train()
    write_tensors(tmp_path / "vision.safetensors", tensors, {"format": "pt"})
    fresh, _ = tiny_llava(layers=4)
    assert changed(state(bench.model), fresh)
    apply_tensors(fresh, read_tensors(tmp_path / "vision.safetensors"))
    assert not changed(state(bench.model), fresh)


def test_tensors_of_another_model_are_refused_whole() -> None:
    model, _ = tiny_llava()
    before = state(model)
    name = "model.vision_tower.pre_layrnorm.bias"
    good = {name: torch.ones(64)}
    with pytest.raises(ArtefactError, match=r"no parameter 'nowhere'"):
        apply_tensors(model, {**good, "nowhere": torch.ones(1)})
    with pytest.raises(ArtefactError, match=r"\(64,\) torch.float32 in the model, but \(3,\)"):
        apply_tensors(model, {name: torch.ones(3)})
    with pytest.raises(ArtefactError, match=r"torch\.bfloat16"):
        apply_tensors(model, {name: torch.ones(64, dtype=torch.bfloat16)})
    assert not changed(before, model)


def test_the_epoch_with_the_least_validation_loss_is_kept(tmp_path: Path) -> None:
    settings = {"learning_rate": 3e-4, "patience": 4, "entropy_weight": 0.0}
    bench = Bench(tmp_path / "d", PER_TOKEN, epochs=4, **settings)
    record, tensors = bench.train()
    totals = [epoch.validation.total for epoch in record.epochs]
    assert [epoch.epoch for epoch in record.epochs] == list(range(5))
    assert 0 < record.chosen_epoch < 4, "a rate at which the last epoch is not the best"
    assert totals[record.chosen_epoch] == min(totals)
    # What is in place is that epoch: epochs up to it, without the later ones, end the same.
    short = Bench(tmp_path / "e", PER_TOKEN, epochs=record.chosen_epoch, **settings)
    _, again = short.train()
    assert all(torch.equal(tensors[name], again[name]) for name in tensors)
    in_place = dict(bench.model.named_parameters())
    assert all(torch.equal(tensors[name], in_place[name]) for name in tensors)


def test_a_training_that_only_gets_worse_leaves_the_tower_as_it_was(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d", epochs=9, learning_rate=0.3, patience=2)
    before = state(bench.model)
    record, tensors = bench.train()
    assert record.chosen_epoch == 0
    assert len(record.epochs) == 3, "the original and two epochs of patience"
    assert record.change_norm == record.relative_change == 0.0
    assert not changed(before, bench.model)
    assert all(torch.equal(tensors[name], before[name]) for name in tensors)


def test_divergence_is_told_and_ends_the_training(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d", epochs=5, learning_rate=1e30)
    before = state(bench.model)
    with pytest.warns(UserWarning, match=r"diverged in epoch 1.*epoch 0 is kept.*learning_rate"):
        record, _ = bench.train()
    assert record.diverged
    assert len(record.epochs) == 1
    assert not changed(before, bench.model)


def test_the_total_of_each_epoch_is_made_of_its_terms(tmp_path: Path) -> None:
    record, _ = Bench(tmp_path / "d", entropy_weight=0.1, error_weight=2.0, **FAST).train()
    for epoch in record.epochs:
        for values in (epoch.training, epoch.validation):
            if values is None:
                assert epoch.epoch == 0
                continue
            assert values.entropy is not None
            expected = values.answer + 0.1 * values.entropy + 2 * values.error
            assert values.total == pytest.approx(expected, rel=1e-5)
        assert len(epoch.entropy_weights) == 3
    first, second = (record.epochs[n].entropy_weights for n in (1, 2))
    assert record.epochs[0].entropy_weights == first != second, "computed once per epoch"


def test_without_its_weight_the_entropy_is_not_measured_and_costs_nothing(tmp_path: Path) -> None:
    costly, _ = Bench(tmp_path / "a", **FAST).train()
    record, _ = Bench(tmp_path / "b", entropy_weight=0.0, **FAST).train()
    assert all(epoch.validation.entropy is None for epoch in record.epochs)
    assert all(epoch.entropy_weights == () for epoch in record.epochs)
    # Per epoch: forward, backward (2) and recomputation (1) of 2 samples, forward of the third;
    # before: references of 3, judging of 1, the search for the parameters (3 times 2).
    assert record.forward_equivalents == pytest.approx((2 * (4 * 2 + 1) + 3 + 1 + 6) / 3)
    # With it: the exact path as well, and one more forward and backward for the weights.
    assert costly.forward_equivalents == pytest.approx((2 * (12 * 2 + 2) + 3 + 2 + 6) / 3)


def test_a_higher_entropy_weight_lowers_the_entropy(tmp_path: Path) -> None:
    """The sign: on the training batches themselves, more weight gives less entropy."""
    after = []
    for number, weight in enumerate((1e-9, 3.0)):
        bench = Bench(
            tmp_path / str(number),
            epochs=4,
            learning_rate=1e-3,
            entropy_weight=weight,
            error_weight=0.0,
            patience=9,
        )
        record, _ = optimize_vision(
            bench.model, bench.model_map, bench.recipe, bench.grids, bench.images, bench.images
        )
        after.append(record.epochs[-1].validation.entropy)
        start = record.epochs[0].validation.entropy
    assert after[1] is not None
    assert after[0] is not None
    assert start is not None
    assert after[1] < after[0]
    assert after[1] < start


def test_recomputing_layers_changes_no_weight_and_saves_memory(tmp_path: Path) -> None:
    with_it, without = (
        Bench(tmp_path / str(flag), checkpointing=flag, **FAST).train()[1] for flag in (True, False)
    )
    assert all(torch.equal(with_it[name], without[name]) for name in without)
    bench = Bench(tmp_path / "m")
    layers = bench.model_map.tower("language").layers
    held = []
    with bench.objective() as (objective, _):
        for recompute in (False, True):
            kept: dict[int, int] = {}

            def keep(x: torch.Tensor, kept: dict[int, int] = kept) -> torch.Tensor:
                kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
                return x

            with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
                if recompute:
                    with recomputed(bench.model, layers, objective.switch.contexts):
                        found = trace(bench.model, bench.model_map, bench.images[0], answers=True)
                else:
                    found = trace(bench.model, bench.model_map, bench.images[0], answers=True)
            held.append(sum(kept.values()))
            del found
    assert held[1] < 0.6 * held[0], held


def test_half_precision_towers_train_and_stay_in_half_precision(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d", epochs=1, learning_rate=1e-2)
    bench.model.bfloat16()
    before = state(bench.model)
    record, tensors = bench.train()
    assert all(tensor.dtype == torch.bfloat16 for tensor in tensors.values())
    assert all(math.isfinite(epoch.validation.total) for epoch in record.epochs)
    assert {name for name in changed(before, bench.model) if "vision_tower" not in name} == set()


@pytest.mark.parametrize("part", ["training", "validation"])
def test_batches_without_images_are_an_error(tmp_path: Path, part: str) -> None:
    bench = Bench(tmp_path / "d")
    text = [batch for batch in bench.batches if not batch.has_images]
    parts = {"training": bench.images, "validation": bench.images, part: text}
    with pytest.raises(DataError, match=r"no sample with an image to (train|validate) on"):
        optimize_vision(bench.model, bench.model_map, bench.recipe, bench.grids, **parts)


def test_recipes_that_cannot_be_trained_are_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d")
    none = bench.recipe.model_copy(update={"vision_optimization": None})
    arguments = (bench.grids, bench.images, bench.images)
    with pytest.raises(RecipeError, match="no vision_optimization"):
        optimize_vision(bench.model, bench.model_map, none, *arguments)
    kept = tuple(site for site in bench.model_map.sites if site.tower != "language")
    model_map = bench.model_map.model_copy(update={"sites": kept})
    with pytest.raises(RecipeError, match="entropy_weight needs a language model"):
        optimize_vision(bench.model, model_map, bench.recipe, *arguments)


def test_a_tower_in_floating_point_can_be_trained_for_a_quantized_language_model(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path / "d", None, **FAST)
    record, tensors = bench.train()
    assert record.parameters == sum(tensor.numel() for tensor in tensors.values())
    assert record.epochs[1].validation.error > 0


def test_progress_reaches_its_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "d", LayerScheme(), **FAST)
    told: list[tuple[int, int]] = []
    optimize_vision(
        bench.model, bench.model_map, bench.recipe, bench.grids, bench.images[:1],
        bench.images[1:], lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {total for _, total in told} == {5}
