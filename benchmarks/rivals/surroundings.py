"""The vision tower and the projector, quantized alike for every rival."""

from __future__ import annotations

import torch
from rival import Case

from qvlm.artefacts.statistics import ActivationStats
from qvlm.models import describe
from qvlm.schemes.methods import method_recipe
from qvlm.search import Installer

WHERE = (
    "language model by the method; vision tower and projector by our nearest rounding with "
    "per-token activations, same bits; lm_head in floating point"
)
_NOTHING = ActivationStats((), {}, {}, 0.0, 0.0, 0.0)
"""Per-token ranges need no statistics."""


@torch.no_grad()
def quantize_surroundings(case: Case, *, language: bool = False) -> None:
    """Replaces the linears around the language model (and, if asked, in it).

    Weights on the width's grid, rounded to nearest; activations per token at run time.
    """
    recipe = method_recipe("RTN per token", case.recipe)
    _ = case.language  # has to be drawn before the model changes
    if not language:
        recipe = recipe.model_copy(update={"language": None})
    installer = Installer(case.model, describe(case.model, recipe), recipe, _NOTHING)
    for site in installer.model_map.sites:
        installer.install(site, None)
