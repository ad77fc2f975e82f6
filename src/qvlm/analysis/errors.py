"""Error at the output of every layer of a tower, sample by sample."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import nn

from qvlm.artefacts import Tower
from qvlm.artefacts.calibration import Batch
from qvlm.models.replay import TowerInput, replace_module
from qvlm.numerics.losses import normalized_error
from qvlm.search import Installer

Values = tuple[float, ...]
"""One figure per sample, in the order of the batches."""
LayerBySample = tuple[Values, ...]
"""[layers][samples]."""


@torch.no_grad()
def layer_errors(installer: Installer, tower: Tower, batches: Sequence[Batch]) -> LayerBySample:
    """Returns the normalized error of the quantized model at every layer's output.

    Both models run from the input on, batch by batch, so that the states of one batch are held
    at a time: two forwards. The model is left quantized as it was.

    Args:
        installer: its model is quantized; it knows the full-precision linears.
        tower: layers whose positions are the tokens of the batches.
        batches: samples.
    """
    model = installer.model
    paths = [path for site in installer.model_map.sites for path in site.linears]
    quantized = {path: model.get_submodule(path) for path in paths}
    errors: list[list[float]] = [[] for _ in tower.layers]
    for batch in batches:
        outputs = _outputs(model, tower, batch)
        installer.restore()
        targets = _outputs(model, tower, batch)
        for path, module in quantized.items():
            replace_module(model, path, module)
        for layer, pair in enumerate(zip(outputs, targets, strict=True)):
            errors[layer] += sample_errors(*pair, batch.valid)
    return tuple(map(tuple, errors))


def sample_errors(outputs: torch.Tensor, targets: torch.Tensor, valid: torch.Tensor) -> list[float]:
    """Returns per sample the normalized error averaged over its tokens.

    Args:
        outputs, targets: [samples, tokens, channels].
        valid: [samples, tokens] bool, False at padding.
    """
    return [
        float(normalized_error(output[keep], target[keep]))
        for output, target, keep in zip(outputs, targets, valid, strict=True)
    ]


def errors_by_sample(
    inputs: Sequence[TowerInput], outputs: list[torch.Tensor], targets: list[torch.Tensor]
) -> Values:
    """Returns the normalized error of every sample of every batch.

    Args:
        inputs: what the tower received, per batch.
        outputs, targets: per batch, [samples, positions, channels].
    """
    return tuple(
        error
        for call, output, target in zip(inputs, outputs, targets, strict=True)
        for error in sample_errors(output, target, valid_positions(call))
    )


def valid_positions(call: TowerInput) -> torch.Tensor:
    """[samples, positions] bool, False at padding."""
    if call.valid is None:
        return torch.ones(call.hidden.shape[:-1], dtype=torch.bool)
    return call.valid


def _outputs(model: nn.Module, tower: Tower, batch: Batch) -> list[torch.Tensor]:
    """Hidden state at every layer's output in one forward."""
    states: dict[int, torch.Tensor] = {}

    def keep(index: int, _module: nn.Module, _args: Any, output: Any) -> None:
        states[index] = output[0] if isinstance(output, tuple) else output

    handles = [
        model.get_submodule(path).register_forward_hook(partial(keep, index))
        for index, path in enumerate(tower.layers)
    ]
    try:
        cast(Any, model)(**batch.inputs, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return [states[index] for index in range(len(tower.layers))]
