"""What a run is expected to take, before it begins."""

from __future__ import annotations

from qvlm.schemes.layer import Frozen


class Estimate(Frozen):
    """Expected needs of a quantization on this machine, from shapes and a short measurement."""

    streamed: bool
    """True where layers stay on disk (`--memory`)."""
    memory_bytes: int
    """Largest resident memory."""
    disk_bytes: int
    """Output and what the run keeps until it is complete."""
    seconds: dict[str, float]
    """Stage -> wall time, if nothing else runs."""
    measured_seconds: float
    """What this estimate itself took to measure the machine."""
