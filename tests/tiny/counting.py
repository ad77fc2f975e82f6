"""Count which layers of a model really compute, to check what a stage says it costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from torch import nn

from qvlm.artefacts import ModelMap


@contextmanager
def layers_that_compute(model: nn.Module, model_map: ModelMap) -> Iterator[list[str]]:
    """Yields a list that grows by a layer's path whenever its own forward begins.

    A layer that a hook stopped before, or that was told to hand its input on, does not count.
    """
    paths = {model.get_submodule(path): path for tower in model_map.towers for path in tower.layers}
    ran: list[str] = []

    def counting(original: Any) -> Any:
        def forward(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if layer in paths:
                ran.append(paths[layer])
            return original(layer, *args, **kwargs)

        return forward

    with ExitStack() as stack:
        for kind in {type(layer) for layer in paths}:
            stack.enter_context(patch.object(kind, "forward", counting(kind.forward)))
        yield ran
