"""Run a batch and keep, with their gradients, the tensors that the loss is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from qvlm.artefacts import ModelMap
from qvlm.artefacts.calibration import Batch

Contexts = Callable[[], tuple[AbstractContextManager[None], AbstractContextManager[None]]]


@dataclass(frozen=True)
class Trace:
    """Tensors of one forward.

    Attributes:
        vision: output of the vision tower, the projector's input, [images, patches, channels].
        hidden: [tokens, channels] the language model's last hidden state, as the head reads it
            (behind the last norm, so that massive activations do not rule its error).
        inputs: per layer of the language model, [samples, positions, channels].
        leaders: per layer, [tokens, channels] what its first site reads (`attn_in`).
        logits: [answer tokens, vocabulary]; empty where the head was not run.
    """

    vision: Tensor
    hidden: Tensor
    inputs: tuple[Tensor, ...]
    leaders: tuple[Tensor, ...]
    logits: Tensor


class _CaughtError(Exception):
    """Stops a forward before the head."""


def trace(model: nn.Module, model_map: ModelMap, batch: Batch, *, answers: bool) -> Trace:
    """Runs the model on a batch, padding left out of everything kept but `inputs`.

    Args:
        model: in evaluation mode.
        model_map: its towers.
        batch: samples with images.
        answers: whether the head runs, at the positions alone that predict an answer token (the
            logits of all positions are the largest tensor of a forward, and nobody reads them).
    """
    vision: list[Tensor] = []
    hidden: list[Tensor] = []
    inputs: list[Tensor] = []
    leaders: list[Tensor] = []
    logits = torch.empty(0)

    def keep_hidden(x: Tensor) -> Tensor:
        hidden.append(x)
        if not answers:
            raise _CaughtError
        return x[batch.predicts_answer].unsqueeze(0)

    hooks: list[tuple[str, Callable[[Tensor], Tensor | None]]] = [
        (model_map.tower("projector").layers[0], vision.append),
        (model_map.tower("head").layers[0], keep_hidden),
        *((path, inputs.append) for path in model_map.tower("language").layers),
        *((site.linears[0], leaders.append) for site in model_map.leading_sites("language")),
    ]
    with ExitStack() as stack:
        for path, keep in hooks:
            module = model.get_submodule(path)
            handle = module.register_forward_pre_hook(partial(_show, keep), with_kwargs=True)
            stack.callback(handle.remove)
        with suppress(_CaughtError):
            logits = model(**batch.inputs, use_cache=False).logits.squeeze(0)
    return Trace(
        vision=vision[0],
        hidden=hidden[0][batch.valid],
        inputs=tuple(inputs),
        # Not in the hook: a layer that is recomputed must save the same tensors as before.
        leaders=tuple(x[batch.valid] for x in leaders),
        logits=logits,
    )


@contextmanager
def recomputed(model: nn.Module, layers: Sequence[str], contexts: Contexts) -> Iterator[None]:
    """Keeps only the inputs of these layers for the backward pass, and runs them again there.

    Args:
        model: the model.
        layers: paths of its layers.
        contexts: in which a layer runs first and again, as `torch.utils.checkpoint` asks for them.
    """
    modules = [model.get_submodule(path) for path in layers]
    for module in modules:
        # On the instance, so that hooks, which `trace` relies on, stay outside.
        module.forward = partial(
            checkpoint,
            module.forward,
            use_reentrant=False,
            preserve_rng_state=False,
            context_fn=contexts,
        )
    try:
        yield
    finally:
        for module in modules:
            del module.forward


def _show(
    keep: Callable[[Tensor], Tensor | None],
    _module: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Shows a module's first input to `keep`, and replaces it by what that returns."""
    changed = keep(args[0] if args else kwargs["hidden_states"])
    if changed is None:
        return None
    return ((changed, *args[1:]), kwargs) if args else ((), {**kwargs, "hidden_states": changed})
