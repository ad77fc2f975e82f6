"""qvlm's preset for the language model alone; tower and projector as every rival has them."""

from __future__ import annotations

from presets import run
from rival import Case, Outcome
from surroundings import WHERE

from qvlm.schemes.methods import method_recipe


def quantize(case: Case) -> Outcome:
    """Quantizes and saves by the preset, around the language model as `surroundings` does."""
    plain = method_recipe("RTN per token", case.recipe)
    recipe = case.recipe.model_copy(update={"vision": plain.vision, "projector": plain.projector})
    return run(case, recipe, f"preset {case.width}", where=WHERE)
