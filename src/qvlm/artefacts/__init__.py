"""What flows between stages: frozen, typed, savable values."""

from qvlm.artefacts.calibration import Batch
from qvlm.artefacts.layout import ModelMap, Site, Tower
from qvlm.artefacts.plan import Block, BlockPlan, BlockSearch, ClipPlan, GuardOutcome, TowerPlan
from qvlm.artefacts.statistics import ActivationStats, SiteStats

__all__ = [
    "ActivationStats",
    "Batch",
    "Block",
    "BlockPlan",
    "BlockSearch",
    "ClipPlan",
    "GuardOutcome",
    "ModelMap",
    "Site",
    "SiteStats",
    "Tower",
    "TowerPlan",
]
