"""The scripts of a benchmark import one another by name, as `python FILE` lets them."""

from __future__ import annotations

import sys
from pathlib import Path

RIVALS = Path(__file__).parents[2] / "benchmarks" / "rivals"
sys.path.insert(0, str(RIVALS))
