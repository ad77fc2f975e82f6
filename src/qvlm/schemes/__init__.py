"""What to quantize to: bit widths, granularities and recipes (no torch in here)."""

from qvlm.schemes.layer import ActivationScheme, LayerScheme, WeightScheme
from qvlm.schemes.load import load_recipe, preset_names
from qvlm.schemes.recipe import (
    CalibrationSettings,
    PartitionSettings,
    Recipe,
    RoundingSettings,
    SearchSettings,
    VisionOptimizationSettings,
)
from qvlm.schemes.text import dump_recipe

__all__ = [
    "ActivationScheme",
    "CalibrationSettings",
    "LayerScheme",
    "PartitionSettings",
    "Recipe",
    "RoundingSettings",
    "SearchSettings",
    "VisionOptimizationSettings",
    "WeightScheme",
    "dump_recipe",
    "load_recipe",
    "preset_names",
]
