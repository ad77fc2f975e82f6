"""Watch what the sites of a model read during a forward."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

import torch
from torch import nn

from qvlm.artefacts import ModelMap, Site
from qvlm.artefacts.calibration import Batch
from qvlm.models.positions import at_site
from qvlm.models.replay import EnoughError


def watch_inputs(
    model: nn.Module,
    model_map: ModelMap,
    batch: Batch,
    see: Callable[[str, torch.Tensor], None],
) -> AbstractContextManager[None]:
    """Calls `see(site, x)` with x [tokens, channels] float32, padding left out, at each site.

    The forward in the body of the `with` ends after the last site.
    """
    return watch_sites(model, model_map.sites, batch, see, stop=True)


@contextmanager
def watch_sites(
    model: nn.Module,
    sites: Sequence[Site],
    batch: Batch,
    see: Callable[[str, torch.Tensor], None],
    *,
    stop: bool,
) -> Iterator[None]:
    """As `watch_inputs`, at some sites; the forward ends after the last of them or goes on."""

    def hook_for(site: Site) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
            x = args[0].reshape(-1, args[0].shape[-1])
            if site.reads_tokens:
                x = x[at_site(model, site, batch.valid)]
            see(site.name, x.float())
            if stop and site is sites[-1]:
                raise EnoughError

        return hook

    handles = [
        model.get_submodule(site.linears[0]).register_forward_pre_hook(hook_for(site))
        for site in sites
    ]
    try:
        with suppress(EnoughError):
            yield
    finally:
        for handle in handles:
            handle.remove()
