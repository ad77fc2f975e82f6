"""Whether what a recipe makes of a model can be run by kernels, asked before the work."""

from __future__ import annotations

import warnings

from torch import nn

from qvlm.artefacts import ModelMap
from qvlm.errors import KernelError
from qvlm.models.adapter import linear_at
from qvlm.models.describe import group_size_of
from qvlm.runtime.kernels.plan import LinearShape, plan_of
from qvlm.schemes import Recipe


def check_runnable(
    model: nn.Module, model_map: ModelMap, recipe: Recipe, *, allow_fallback: bool
) -> None:
    """Looks for layers that no kernel will be able to run.

    Args:
        model: in full precision.
        model_map: what is quantized.
        recipe: how.
        allow_fallback: warn instead of raising.

    Raises:
        KernelError: there is such a layer.
    """
    for site in model_map.sites:
        scheme = recipe.tower_scheme(site.tower)
        if scheme is None:
            continue
        for path in site.linears:
            shape = LinearShape(
                linear_at(model, path).out_features,
                site.channels,
                group_size_of(site, recipe),
                scheme.weights.bits,
                scheme.weights.symmetric,
                scheme.activations,
            )
            plan = plan_of(shape)
            if isinstance(plan, str) and not allow_fallback:
                raise KernelError(
                    f"layer '{path}' would have no kernel: {plan}; or let it run by the slow "
                    "definition with --allow-fallback"
                )
            if isinstance(plan, str):
                warnings.warn(f"layer '{path}' has no kernel: {plan}", stacklevel=2)
