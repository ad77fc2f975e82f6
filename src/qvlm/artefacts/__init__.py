"""What flows between stages: frozen, typed, savable values.

The ones that hold tensors are imported from their own modules (`calibration`, `statistics`,
`tensors`), so that a plan or a result can be read without torch.
"""

from qvlm.artefacts.layout import ModelMap, Site, Tower
from qvlm.artefacts.plan import (
    Block,
    BlockPlan,
    BlockSearch,
    ClipPlan,
    Dependency,
    GuardOutcome,
    TowerPlan,
    Verdict,
)

__all__ = [
    "Block",
    "BlockPlan",
    "BlockSearch",
    "ClipPlan",
    "Dependency",
    "GuardOutcome",
    "ModelMap",
    "Site",
    "Tower",
    "TowerPlan",
    "Verdict",
]
