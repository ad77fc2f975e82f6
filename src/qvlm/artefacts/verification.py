"""`verification.json`: whether a checkpoint is what it says, and what each server executes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from qvlm.schemes.layer import Frozen

REPORT_NAME = "verification.json"


class Executed(Frozen):
    """Layers of one tower and scheme, and what becomes of them."""

    tower: str
    layers: int
    asked: str
    bits_per_weight: float
    """Realised: bytes of levels, scales and zero points in the files."""
    transformers: str
    vllm: str
    own: str
    vllm_differs: bool = False
    """vLLM computes something else than asked, and says nothing."""


class Check(Frozen):
    """One thing that was looked at."""

    name: str
    outcome: Literal["ok", "failed", "not checked"]
    detail: str


class Verification(Frozen):
    """Outcome of `qvlm verify`."""

    qvlm_version: str
    format: str
    rows: tuple[Executed, ...]
    bits: dict[str, float] = Field(default_factory=dict)
    """Path of every quantized linear -> realised bits per weight, as in `Executed`."""
    checks: tuple[Check, ...]
    answers: tuple[str, ...]
    """To the first questions that it was asked."""
    versions: dict[str, str]

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.outcome == "failed")
