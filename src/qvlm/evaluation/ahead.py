"""Work on the next item while the present one is in use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


def one_ahead(work: Callable[[Item], Outcome], items: Iterable[Item]) -> Iterator[Outcome]:
    """Yields `work(item)` of every item in turn, one item ahead in a thread of its own.

    What `work` raises is raised when the turn of its item comes, so that all outcomes before it
    have been handed out. `work` runs on one item at a time.

    Args:
        work: may run while the caller uses the outcome before.
        items: taken one by one.
    """
    with ThreadPoolExecutor(1) as thread:
        waiting: Future[Outcome] | None = None
        for item in items:
            following = thread.submit(work, item)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()
