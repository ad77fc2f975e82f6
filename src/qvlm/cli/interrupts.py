"""Ctrl-C and SIGTERM as one exception, which reaches `main` with the hint how to go on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes."""


class Interrupted(BaseException):
    """Somebody asked the process to end; the command line's library passes it on as it is."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
        self.resume_hint = ""


@contextmanager
def interrupts() -> Iterator[None]:
    """Turns what interrupts the body into `Interrupted`."""
    try:
        yield
    except KeyboardInterrupt as error:
        stopped = Interrupted(INTERRUPTED)
        stopped.resume_hint = getattr(error, "resume_hint", "")
        raise stopped from error


def listen() -> None:
    """Lets SIGTERM raise `Interrupted`."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Interrupted(TERMINATED)
