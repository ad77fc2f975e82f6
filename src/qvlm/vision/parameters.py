"""The parameters of the vision tower: which they are, and how a saved tower is put back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from qvlm.artefacts import ModelMap
from qvlm.artefacts.calibration import Batch
from qvlm.errors import ArtefactError
from qvlm.vision.trace import trace


def vision_parameters(model: nn.Module, model_map: ModelMap, batch: Batch) -> dict[str, Tensor]:
    """Returns name -> parameter of everything that the vision tower's output depends on.

    Found by one backward pass, so that no layer that is never read, and nothing of the projector
    or the language model, is among them, whatever the architecture calls its modules.
    """
    parameters = dict(model.named_parameters())
    with only_trainable(model, parameters), torch.enable_grad():
        output = trace(model, model_map, batch, answers=False).vision
        gradients = torch.autograd.grad(
            output.float().sum(), list(parameters.values()), allow_unused=True
        )
    return {
        name: parameter
        for (name, parameter), gradient in zip(parameters.items(), gradients, strict=True)
        if gradient is not None
    }


def apply_tensors(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Puts the trained values of a saved vision tower into a model, bit for bit.

    Args:
        model: the full-precision model that the tower was trained in.
        tensors: parameter name -> value, as `vision.safetensors` holds them.

    Raises:
        ArtefactError: a parameter is missing from the model, or differs in shape or type.
    """
    parameters = dict(model.named_parameters())
    for name, tensor in tensors.items():
        if name not in parameters:
            raise ArtefactError(f"the model has no parameter '{name}' of the trained vision tower")
        have, want = parameters[name], tensor
        if have.shape != want.shape or have.dtype != want.dtype:
            raise ArtefactError(
                f"parameter '{name}' is {tuple(have.shape)} {have.dtype} in the model, but "
                f"{tuple(want.shape)} {want.dtype} in the trained vision tower"
            )
    with torch.no_grad():
        for name, tensor in tensors.items():
            parameters[name].copy_(tensor)


@contextmanager
def only_trainable(model: nn.Module, trainable: Mapping[str, Tensor]) -> Iterator[None]:
    """Lets gradients reach these parameters alone, and forgets the gradients at the end."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    chosen = {id(parameter) for parameter in trainable.values()}
    try:
        for parameter, _ in before:
            parameter.requires_grad_(id(parameter) in chosen)
        yield
    finally:
        for parameter, required in before:
            parameter.requires_grad_(required)
            parameter.grad = None
