"""The reference pair that ships with qvlm: the PicoScience questions and the pico-llava model."""

from __future__ import annotations

import os
from pathlib import Path


def cache_directory() -> Path:
    """Returns where generated data and built models are kept: `$QVLM_CACHE` or `~/.cache/qvlm`."""
    return Path(os.environ.get("QVLM_CACHE") or Path.home() / ".cache" / "qvlm")


def pico_llava_path() -> Path:
    """Returns the folder of the bundled pico-llava model, tokenizer and processor."""
    return Path(__file__).resolve().parent / "pico_llava"
