"""Requests and answers of OpenAI's chat completions, as far as this server speaks them.

A field that would change the answer and is not listed here is refused, never ignored.
"""

from __future__ import annotations

import time
import uuid
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from qvlm import __version__
from qvlm.data.conversation import Role, Turn
from qvlm.serving.images import image_of
from qvlm.serving.limits import Limits
from qvlm.serving.problems import Problem
from qvlm.serving.question import Answer, Question, Sampling


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _null_is_the_default(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        return {name: value for name, value in values.items() if value is not None}


class TextPart(_Part):
    """Words."""

    type: Literal["text"]
    text: str


class ImageUrl(_Part):
    """Where an image is; `detail` is a hint that changes nothing here."""

    url: str
    detail: Literal["auto", "low", "high"] = "auto"


class ImagePart(_Part):
    """A picture."""

    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class Message(_Part):
    """One turn. The last fields are those of an answer that a client sends back."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]
    refusal: None = None
    audio: None = None
    function_call: None = None
    tool_calls: None = None
    annotations: None = None


StopText = Annotated[str, Field(min_length=1, max_length=1000)]


class StreamOptions(_Part):
    """Whether a last chunk holds the counts."""

    include_usage: bool = False


class ChatRequest(_Part):
    """A question. Fields with one value only are those whose other values are not supported."""

    model: str
    messages: list[Message] = Field(min_length=1)
    temperature: float = Field(default=0.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    stop: StopText | Annotated[list[StopText], Field(max_length=16)] | None = None
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Literal[1] = 1
    logprobs: Literal[False] = False
    presence_penalty: Literal[0] = 0
    frequency_penalty: Literal[0] = 0
    user: str | None = None
    metadata: dict[str, str] | None = None

    def question(self, limits: Limits) -> Question:
        """Returns what is asked, images fetched where that is allowed.

        Raises:
            Problem: an image is refused, or the limits are passed.
        """
        count = sum(part.type == "image_url" for m in self.messages for part in _parts(m))
        if count > limits.max_images:
            raise Problem(
                400, f"the request has {count} images, the limit is {limits.max_images}", "messages"
            )
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        sampling = Sampling(
            max_tokens=self._longest(limits.max_tokens),
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            stop=tuple(stop),
        )
        return Question(self._turns(limits), sampling)

    def _turns(self, limits: Limits) -> tuple[Turn, ...]:
        number = 0
        turns = []
        for message in self.messages:
            parts: list[Any] = []
            for part in _parts(message):
                if isinstance(part, TextPart):
                    parts.append(part.text)
                else:
                    number += 1
                    parts.append(image_of(part.image_url.url, number, limits))
            role: Role = "system" if message.role == "developer" else message.role
            turns.append(Turn(role, tuple(parts)))
        return tuple(turns)

    def _longest(self, cap: int) -> int | None:
        asked = self.max_completion_tokens or self.max_tokens
        if asked is not None and asked > cap:
            param = "max_completion_tokens" if self.max_completion_tokens else "max_tokens"
            raise Problem(400, f"{asked} tokens are asked for, the limit is {cap}", param)
        return asked


def _parts(message: Message) -> list[TextPart | ImagePart]:
    if isinstance(message.content, str):
        return [TextPart(type="text", text=message.content)]
    return message.content


class Reply:
    """Builds the JSON of one answer: whole, or in chunks that share an id."""

    def __init__(self, model: str) -> None:
        """`model` is the name that the server gives its model."""
        self._head = {
            "id": f"chatcmpl-{uuid.uuid4().hex}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": f"qvlm-{__version__}",
        }

    def whole(self, answer: Answer) -> dict[str, Any]:
        """The answer in one piece."""
        message = {"role": "assistant", "content": answer.text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": answer.finish, "logprobs": None}
        return {
            **self._head,
            "object": "chat.completion",
            "choices": [choice],
            "usage": usage_of(answer),
        }

    def chunk(self, delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
        """The next words, or the reason for the end."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def counts(self, answer: Answer) -> dict[str, Any]:
        """The last chunk, for those who ask for it."""
        return {
            **self._head,
            "object": "chat.completion.chunk",
            "choices": [],
            "usage": usage_of(answer),
        }


def usage_of(answer: Answer) -> dict[str, int]:
    """How many tokens were read and written."""
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }
