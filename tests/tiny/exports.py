"""Runs of the tiny model in schemes that can be exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from transformers import AutoModelForImageTextToText

import qvlm
from qvlm.data import open_source
from qvlm.data.batches import prompt_inputs

STATIC = ("projector.activations.symmetric=false", "vision.activations.symmetric=false")
"""Of w8a8-static: per-token ranges as qvlm and Transformers both compute them."""
TOWERS = ("language", "projector", "vision")
NEAREST = tuple(f"{tower}.weights.rounding=nearest" for tower in TOWERS)
"""How levels are chosen does not matter to how they are written."""
SCHEMES = {
    "w8a8 static": ("w8a8-static", STATIC),
    "w8a8 per tensor": (
        "w8a8-static",
        (
            *STATIC,
            "language.activations.granularity=per_tensor",
            "language.activations.symmetric=false",
        ),
    ),
    "w8a8 dynamic": ("w8a8-dynamic", (*STATIC, "language.activations.symmetric=false")),
    "w4a16": ("w4a16-symmetric", ()),
    "w8a16": ("w4a16-symmetric", tuple(f"{tower}.weights.bits=8" for tower in TOWERS)),
    "w4a4": (
        "w8a8-dynamic",
        (
            *STATIC,
            "language.activations.symmetric=false",
            *(f"{tower}.{part}.bits=4" for tower in TOWERS for part in ("weights", "activations")),
        ),
    ),
    "w6a6 static": (
        "w8a8-static",
        (
            *STATIC,
            *(f"{tower}.{part}.bits=6" for tower in TOWERS for part in ("weights", "activations")),
        ),
    ),
    "w4a8": (
        "w8a8-dynamic",
        (
            *STATIC,
            "language.activations.symmetric=false",
            *(f"{tower}.weights.bits=4" for tower in TOWERS),
        ),
    ),
}
"""Name -> preset and overrides; all differ from the native run by float sums only."""


def quantized_run(
    model: Path, questions: Path, output: Path, recipe: str, overrides: tuple[str, ...] = ()
) -> Path:
    """Quantizes a tiny model on a few samples."""
    small = ("calibration.samples=4", "calibration.batch_size=2", *NEAREST)
    qvlm.quantize(model, recipe, f"scienceqa:{questions}", output, overrides=(*small, *overrides))
    return output


@torch.no_grad()
def distance(exported: Path, run: Path, questions: Path) -> float:
    """Relative distance of the logits in plain Transformers from those of the native run."""
    model = AutoModelForImageTextToText.from_pretrained(exported, dtype="auto").eval()
    native, processor = qvlm.load(run, "simulated")
    apart = size = 0.0
    for sample in open_source(f"scienceqa:{questions}", "test")[:4]:
        # In LLaVA's words one value lies right between two levels, and the models part there.
        inputs = prompt_inputs([replace(sample, wording="letter")], processor)
        theirs = native(**inputs).logits
        apart += float((model(**inputs).logits.float() - theirs.float()).square().sum())
        size += float(theirs.float().square().sum())
    return (apart / size) ** 0.5
