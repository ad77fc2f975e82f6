"""Calibration batches for the tiny LLaVA, made from a handful of drawn questions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from qvlm.artefacts.calibration import Batch
from qvlm.data import Sample
from qvlm.data.batches import calibration_batches
from tiny.scienceqa import write_scienceqa


def tiny_samples(root: Path) -> list[Sample]:
    """Six questions in PicoScience's words, three of them with an image."""
    from qvlm.data import open_source

    samples = open_source(f"scienceqa:{write_scienceqa(root)}", "test")
    return [replace(sample, wording="letter") for sample in samples]


def tiny_batches(root: Path, processor: Any, batch_size: int = 2) -> list[Batch]:
    """The questions with their answers: two batches with images, two of text alone."""
    return calibration_batches(tiny_samples(root), processor, batch_size)
