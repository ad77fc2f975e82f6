"""PicoScience: a procedural science question set in ScienceQA's on-disk format."""

from __future__ import annotations

from qvlm.reference.picoscience.families import FAMILIES, family_stream, generate
from qvlm.reference.picoscience.problem import Problem
from qvlm.reference.picoscience.write import DATASET_VERSION, default_dataset, write_dataset

__all__ = [
    "DATASET_VERSION",
    "FAMILIES",
    "Problem",
    "default_dataset",
    "family_stream",
    "generate",
    "write_dataset",
]
