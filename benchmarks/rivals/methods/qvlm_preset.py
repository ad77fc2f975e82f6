"""qvlm's preset of the width, as it is recommended."""

from __future__ import annotations

from presets import run
from rival import Case, Outcome


def quantize(case: Case) -> Outcome:
    """Quantizes and saves by the preset."""
    return run(case, case.recipe, f"preset {case.width}")
