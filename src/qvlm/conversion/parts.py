"""What a user names for a conversion, and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from qvlm.artefacts.conversion import Conversion


@dataclass(frozen=True)
class Request:
    """Where the parts of a model are.

    Attributes:
        source: the original checkpoint: a directory, or a file where its layout is one.
        vision_tower: directory or hub id of a CLIP; empty for the one that the source names.
        language_model: directory or hub id of the frozen language model, where the source lacks it.
        tokenizer: directory or hub id; empty for the source's or the language model's own.
    """

    source: Path
    vision_tower: str = ""
    language_model: str = ""
    tokenizer: str = ""


@dataclass(frozen=True)
class Converted:
    """A model of Transformers with its processor, ready to be saved."""

    model: nn.Module
    processor: Any
    record: Conversion
