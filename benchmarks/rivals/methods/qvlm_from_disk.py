"""qvlm's preset with the layers left on disk: the same checkpoint in less memory."""

from __future__ import annotations

from presets import run
from rival import Case, Outcome

MEMORY = 1 << 30
"""What the run may use; it is refused beforehand where that is too little."""


def quantize(case: Case) -> Outcome:
    """Quantizes and saves by the preset, layer by layer."""
    return run(case, case.recipe, f"preset {case.width}, --memory 1GiB", memory=MEMORY)
