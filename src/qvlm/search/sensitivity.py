"""How strongly the answer loss depends on every position, at every depth: one backward pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from qvlm.artefacts import Tower
from qvlm.artefacts.calibration import PADDING, Batch
from qvlm.artefacts.layout import TOKEN_TOWERS
from qvlm.numerics.losses import answer_loss

FORWARD_EQUIVALENTS = 3.0
"""A forward, and a backward that costs two."""

Key = tuple[str, int, int]
"""(tower, layer, batch)."""


class Sensitivity:
    """Weights w_t proportional to ||dL/dn_t||, n_t = h_t / rms(h_t) of the full-precision model.

    L is the next-token loss of the answers. A small error d_t of the normalized hidden state
    changes it by dL/dn_t . d_t. The mean over a sample's positions is 1, so that questions with a
    steep loss (wrong answers) do not outvote the others.
    """

    def __init__(
        self, model: nn.Module, towers: Sequence[Tower], batches: Mapping[int, Batch]
    ) -> None:
        """Runs one forward and one backward per batch; the model's parameters get no gradient."""
        self._weights: dict[Key, torch.Tensor] = {}
        with _frozen(model), torch.enable_grad():
            for index, batch in batches.items():
                for (tower, layer), hidden in _with_gradients(model, towers, batch).items():
                    self._weights[tower, layer, index] = _weights(hidden, tower, batch)

    def weights(self, tower: str, layer: int, batch: int) -> torch.Tensor:
        """[samples, positions] float32, at the output of a layer.

        A layer that the batch does not reach has those of the nearest one that it does.
        """
        reached = [key for key in self._weights if (key[0], key[2]) == (tower, batch)]
        return self._weights[min(reached, key=lambda key: abs(key[1] - layer))]


def _with_gradients(
    model: nn.Module, towers: Sequence[Tower], batch: Batch
) -> dict[tuple[str, int], torch.Tensor]:
    """(tower, layer) -> output of the layer, with its gradient in `.grad`."""
    outputs: dict[tuple[str, int], torch.Tensor] = {}

    def hook_for(tower: str, layer: int) -> Any:
        def hook(_module: nn.Module, _args: Any, output: Any) -> Any:
            hidden = output[0] if isinstance(output, tuple) else output
            if not hidden.requires_grad:  # the first layer that runs: nothing before it is needed
                hidden = hidden.detach().requires_grad_()
            hidden.retain_grad()
            outputs[tower, layer] = hidden
            return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

        return hook

    handles = [
        model.get_submodule(path).register_forward_hook(hook_for(tower.name, layer))
        for tower in towers
        for layer, path in enumerate(tower.layers)
    ]
    try:
        logits = model(**batch.inputs, use_cache=False).logits
    finally:
        for handle in handles:
            handle.remove()
    loss, _ = answer_loss(logits, batch.labels)
    loss.backward()  # type: ignore[no-untyped-call]
    return outputs


def _weights(hidden: torch.Tensor, tower: str, batch: Batch) -> torch.Tensor:
    gradient = hidden.grad if hidden.grad is not None else torch.zeros_like(hidden)
    mean_square = hidden.detach().float().square().mean(dim=-1)
    norm = gradient.float().norm(dim=-1) * mean_square.sqrt()
    valid = torch.ones_like(norm)
    if tower in TOKEN_TOWERS:
        valid = (batch.modality != PADDING).float()
    norm = norm * valid
    mean = norm.sum(dim=-1, keepdim=True) / valid.sum(dim=-1, keepdim=True)
    return torch.where(mean > 0, norm / mean, valid)


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)
