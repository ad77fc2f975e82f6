"""The reference pair that ships with qvlm: the PicoScience questions and the pico-llava model."""

from __future__ import annotations

from pathlib import Path


def pico_llava_path() -> Path:
    """Returns the folder of the bundled pico-llava model, tokenizer and processor."""
    return Path(__file__).resolve().parent / "pico_llava"
