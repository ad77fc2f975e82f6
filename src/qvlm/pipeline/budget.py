"""Hold a streamed run to the memory that it may use."""

from __future__ import annotations

import warnings

from qvlm import machine
from qvlm.errors import ModelError
from qvlm.pipeline.needs import Work, memory_needed

_ROOM, _KEPT = 1.5, 1.25
"""From how many times the memory needed freed memory may be kept, and how much is taken then."""


def check_memory(work: Work, memory: int, base: int) -> None:
    """Raises ModelError where a streamed run needs more than it may use."""
    needed = memory_needed(work, base)
    if needed > memory:
        raise ModelError(
            f"this run needs about {needed / 2**30:.1f} GiB, more than --memory "
            f"{memory / 2**30:.1f} GiB: allow more, or lower calibration.batch_size"
        )


def memory_taken(work: Work, memory: int | None, base: int) -> int:
    """What a run will take of the memory that it may use: somewhat more where there is room."""
    needed = memory_needed(work, base)
    return int(needed * _KEPT) if _has_room(needed, memory) else needed


def settle_memory(work: Work, memory: int, base: int) -> None:
    """Lets a streamed run keep freed memory for its next tensors, where it may use enough.

    Else the system clears every page anew, which can take a third of the run's time. What a layer
    freed goes back at its end either way.
    """
    if _has_room(memory_needed(work, base), memory):
        machine.keep_little_freed_memory()
    else:
        machine.keep_no_freed_memory()


def _has_room(needed: int, memory: int | None) -> bool:
    return memory is not None and needed * _ROOM <= memory


def warn_of_excess(peak: int, memory: int) -> None:
    """Says that a run took more memory than it was allowed, as the estimate was too low."""
    if peak > memory:
        warnings.warn(
            f"the run took {peak / 2**30:.2f} GiB, more than --memory {memory / 2**30:.2f} GiB: "
            "please report the model and recipe",
            stacklevel=2,
        )
