"""Gradient weights against finite differences of the answer loss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from qvlm.models import describe
from qvlm.schemes import Recipe
from qvlm.search.sensitivity import Sensitivity
from tiny.batches import tiny_batches
from tiny.llava import tiny_llava


def test_weights_are_the_gradient_norms_of_the_normalized_state(tmp_path: Path) -> None:
    model, processor = tiny_llava(dtype=torch.float64)
    towers = describe(model, Recipe()).towers
    batch = tiny_batches(tmp_path / "d", processor)[0]
    batch.inputs["pixel_values"] = batch.inputs["pixel_values"].double()
    tower = next(tower for tower in towers if tower.name == "language")
    weights = Sensitivity(model, towers, {0: batch}).weights("language", 1, 0)
    assert weights.shape == batch.labels.shape
    assert not weights[~batch.valid].any()
    count = batch.valid.sum(dim=1)
    assert torch.allclose(weights.sum(dim=1), count.to(weights.dtype), rtol=1e-4)

    layer = model.get_submodule(tower.layers[1])
    states: list[torch.Tensor] = []

    def loss_with(shift: torch.Tensor | None) -> float:
        def hook(_module: Any, _args: Any, output: Any) -> Any:
            states.append(output)
            return output if shift is None else output + shift

        handle = layer.register_forward_hook(hook)
        with torch.no_grad():  # Llama norms compute in float32: hence the large steps
            logits = model(**batch.inputs).logits
        handle.remove()
        picked = logits[:, :-1][batch.labels[:, 1:] != -100]
        targets = batch.labels[:, 1:][batch.labels[:, 1:] != -100]
        return float(torch.nn.functional.cross_entropy(picked, targets, reduction="sum"))

    loss_with(None)
    hidden = states[0]
    measured = torch.zeros(2)
    positions = [int(p) for p in batch.valid[0].nonzero().flatten()[-6:-4]]
    for number, position in enumerate(positions):
        scale = hidden[0, position].square().mean().sqrt()
        for channel in range(hidden.shape[-1]):
            shift = torch.zeros_like(hidden)
            shift[0, position, channel] = 3e-3 * scale
            slope = (loss_with(shift) - loss_with(-shift)) / 6e-3
            measured[number] += slope**2
    ratio = weights[0, positions] / measured.sqrt()
    assert torch.allclose(ratio[0], ratio[1], rtol=2e-2)


def test_every_tower_gets_weights_and_the_parameters_no_gradients(tmp_path: Path) -> None:
    model, processor = tiny_llava()
    towers = describe(model, Recipe()).towers
    batches = tiny_batches(tmp_path / "d", processor)
    sensitivity = Sensitivity(model, towers, dict(enumerate(batches)))
    images = len(batches[0].inputs["pixel_values"])
    assert sensitivity.weights("vision", 0, 0).shape[0] == images
    assert sensitivity.weights("projector", 0, 0).ndim >= 1
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())
