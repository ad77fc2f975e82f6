"""Transformers without progress bars and log lines; what matters of them is an error of ours."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silences Transformers' warnings during the body, and its progress bars for good."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with no_bars():
            yield
    finally:
        logger.setLevel(level)


@contextmanager
def no_bars() -> Iterator[None]:
    """No bar of tqdm is drawn during the body.

    compressed-tensors draws some and has no switch for them; they would run into ours.
    """
    original = tqdm.__init__

    def silent(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **{**kwargs, "disable": True})

    tqdm.__init__ = silent
    try:
        yield
    finally:
        tqdm.__init__ = original
