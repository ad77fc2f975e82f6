"""Watch what the sites of a model read during a forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import torch
from torch import nn

from qvlm.artefacts import ModelMap, Site
from qvlm.artefacts.calibration import Batch
from qvlm.models.positions import at_site
from qvlm.models.replay import EnoughError


@contextmanager
def watch_inputs(
    model: nn.Module,
    model_map: ModelMap,
    batch: Batch,
    see: Callable[[str, torch.Tensor], None],
) -> Iterator[None]:
    """Calls `see(site, x)` with x [tokens, channels] float32, padding left out, at each site.

    The forward in the body of the `with` ends after the last site.
    """
    last = model_map.sites[-1].name

    def hook_for(site: Site) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            x = args[0].reshape(-1, args[0].shape[-1])
            if site.reads_tokens:
                x = x[at_site(model, site, batch.valid)]
            see(site.name, x.float())
            if site.name == last:
                raise EnoughError

        return hook

    handles = [
        model.get_submodule(site.linears[0]).register_forward_pre_hook(hook_for(site))
        for site in model_map.sites
    ]
    try:
        with suppress(EnoughError):
            yield
    finally:
        for handle in handles:
            handle.remove()
