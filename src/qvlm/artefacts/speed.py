"""How fast models answer and what memory they take; JSON that a report can read."""

from __future__ import annotations

from statistics import median
from typing import Literal

from qvlm.schemes.layer import Frozen

Form = Literal["float32", "bfloat16", "simulated", "integer"]
"""How a model is run: in floating point, or a quantized one by float or by integer products."""


class Speed(Frozen):
    """One model in one form, measured in a process of its own."""

    model: str
    form: Form
    scheme: str
    """Bits of weights and activations, `FP` for a model that is not quantized."""
    load_seconds: float
    weight_bytes: int
    """Parameters and buffers in memory."""
    peak_rss_bytes: int
    """Largest resident memory of the process, loading included."""
    prompt_tokens: int
    """Length of the prompt; image tokens included."""
    image_tokens: int
    new_tokens: int
    first_token_seconds: tuple[float, ...]
    """From the encoded question to the first token, per run: vision tower and prefill."""
    answer_seconds: tuple[float, ...]
    """From the encoded question to the last of `new_tokens`, per run."""

    @property
    def time_to_first_token(self) -> float:
        """Median seconds."""
        return median(self.first_token_seconds)

    @property
    def prefill_rate(self) -> float:
        """Tokens of the prompt per second."""
        return self.prompt_tokens / self.time_to_first_token

    @property
    def decode_rate(self) -> float:
        """Tokens per second after the first."""
        return (self.new_tokens - 1) / (median(self.answer_seconds) - self.time_to_first_token)


class SpeedReport(Frozen):
    """All that one `qvlm bench` measured."""

    qvlm_version: str
    question: str
    repeat: int
    rows: tuple[Speed, ...]
    versions: dict[str, str]
    machine: dict[str, str]
