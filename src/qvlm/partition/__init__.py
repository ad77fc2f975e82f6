"""Which layers are searched together: blocks of consecutive layers, tower by tower."""

from qvlm.partition.dynamic import partition
from qvlm.partition.plan import plan_blocks, plan_tower

__all__ = ["partition", "plan_blocks", "plan_tower"]
