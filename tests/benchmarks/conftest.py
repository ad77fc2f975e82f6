"""The scripts of a benchmark import one another by name, as `python FILE` lets them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

RIVALS = Path(__file__).parents[2] / "benchmarks" / "rivals"
sys.path.insert(0, str(RIVALS))


@pytest.fixture(autouse=True)
def _subnormal_numbers_come_back() -> Iterator[None]:
    """A cell flushes them to zero, for the whole process; other tests draw them."""
    yield
    torch.set_flush_denormal(False)
