"""Transformers without progress bars and log lines; what matters of them is an error of ours."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Silences Transformers' warnings during the body, and its progress bars for good."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    logger = logging.getLogger("transformers")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
