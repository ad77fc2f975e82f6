"""What is asked, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qvlm.data.conversation import Turn
from qvlm.errors import QvlmError

Finish = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Sampling:
    """How an answer is chosen and where it ends.

    Attributes:
        max_tokens: longest answer; None = what fits the model and the engine's cap.
        temperature: 0 for the likeliest token at every step.
        top_p: share of the probability that is sampled from.
        seed: of sampling; None = a new one every time.
        stop: texts before which the answer ends.
    """

    max_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise QvlmError(f"temperature {self.temperature} is below 0: use 0 for greedy decoding")
        if not 0 < self.top_p <= 1:
            raise QvlmError(f"top_p {self.top_p} is no share: use a number above 0, up to 1")


@dataclass(frozen=True)
class Question:
    """A conversation up to the user's last turn, and how to answer it."""

    turns: tuple[Turn, ...]
    sampling: Sampling = Sampling()


@dataclass(frozen=True)
class Answer:
    """What the model said.

    Attributes:
        text: without the end token and the text that stopped it.
        finish: `stop` at an end token or a stop text, `length` at the longest length.
        prompt_tokens: image tokens included.
        completion_tokens: end token included.
        first_token_seconds: from the start of the work to the first token, images included.
        seconds: to the last.
    """

    text: str
    finish: Finish
    prompt_tokens: int
    completion_tokens: int
    first_token_seconds: float
    seconds: float

    @property
    def tokens_per_second(self) -> float | None:
        """Speed after the first token; None where there is only one."""
        rest = self.seconds - self.first_token_seconds
        if self.completion_tokens < 2 or rest <= 0:
            return None
        return (self.completion_tokens - 1) / rest
