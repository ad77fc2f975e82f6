"""What `qvlm convert` made of an original checkpoint, and what it left out or changed."""

from __future__ import annotations

from qvlm.schemes.layer import Frozen


class Conversion(Frozen):
    """Lies as `conversion.json` beside a converted model."""

    source: str
    """The original checkpoint."""
    layout: str
    """Whose layout it has: `MoE-LLaVA` or `OpenFlamingo`."""
    vision_tower: str
    """Where the vision tower and the image processor come from."""
    language_model: str = ""
    """Where the frozen language model comes from; empty where the checkpoint holds it."""
    tokenizer: str
    """Where the tokenizer comes from."""
    dropped: tuple[str, ...]
    """Names of tensors of the checkpoint that the converted model has no use for."""
    notes: tuple[str, ...]
    """Where the converted model computes something else than the original code."""
    qvlm_version: str
