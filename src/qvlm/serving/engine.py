"""A loaded model that answers conversations, alone or several at once."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import StoppingCriteria, StoppingCriteriaList

from qvlm.data.batches import MAX_PIXELS, join_prompts
from qvlm.data.conversation import encode_conversation
from qvlm.data.encode import Encoded
from qvlm.errors import DataError
from qvlm.models.decoding import decoding, end_tokens, positions
from qvlm.serving.question import Answer, Question, Sampling
from qvlm.serving.stream import TextStream


@dataclass(frozen=True)
class Prompt:
    """A question as the model reads it.

    Attributes:
        encoded: its tokens and images.
        sampling: as asked.
        limit: longest answer.
        seconds: that reading and encoding took.
    """

    encoded: Encoded
    sampling: Sampling
    limit: int
    seconds: float

    @property
    def joinable(self) -> bool | None:
        """Prompts of an equal value other than None can run as one batch."""
        # Sampling draws from one stream of random numbers, which a neighbour would disturb.
        return None if self.sampling.temperature > 0 else bool(self.encoded.extras)


@dataclass(frozen=True)
class Listener:
    """Who gets the pieces of an answer, and whether it is still wanted."""

    told: Callable[[str], None]
    cancelled: Callable[[], bool] = lambda: False


class Engine:
    """Answers questions with a model in evaluation mode; not to be used by two threads at once."""

    def __init__(
        self, model: Any, processor: Any, max_tokens: int = 1024, max_pixels: int = MAX_PIXELS
    ) -> None:
        """Takes the cap of an answer's tokens and of an image's pixels."""
        self._model = model
        self._processor = processor
        self._max_tokens = max_tokens
        self._max_pixels = max_pixels
        self._ends = frozenset(end_tokens(model, processor))
        self._positions = positions(model)

    def prepare(self, question: Question) -> Prompt:
        """Reads the images and encodes the conversation.

        Raises:
            DataError: the conversation does not fit the processor or the model's positions, or
                a longer answer is asked for than the cap allows.
            ImageError: an image cannot be used.
        """
        begin = time.perf_counter()
        encoded = encode_conversation(question.turns, self._processor, self._max_pixels)
        limit = self._limit(len(encoded), question.sampling.max_tokens)
        return Prompt(encoded, question.sampling, limit, time.perf_counter() - begin)

    def answer(self, prompts: Sequence[Prompt], listeners: Sequence[Listener]) -> list[Answer]:
        """Answers prompts as one batch; pieces go to the listeners as they come.

        Args:
            prompts: one, or several whose `joinable` is equal and not None.
            listeners: one for each.
        """
        streams = [
            TextStream(
                self._processor.tokenizer,
                self._ends,
                prompt.limit,
                prompt.sampling.stop,
                listener.told,
                listener.cancelled,
            )
            for prompt, listener in zip(prompts, listeners, strict=True)
        ]
        self._generate(prompts, streams)
        return [_answer(*pair) for pair in zip(prompts, streams, strict=True)]

    def _generate(self, prompts: Sequence[Prompt], streams: Sequence[TextStream]) -> None:
        sampling = prompts[0].sampling
        inputs = join_prompts([prompt.encoded for prompt in prompts], self._processor)
        device = next(self._model.parameters()).device
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            if sampling.temperature > 0:
                seed = secrets.randbits(63) if sampling.seed is None else sampling.seed
                torch.manual_seed(seed)
            self._model.generate(
                **{name: tensor.to(device) for name, tensor in inputs.items()},
                generation_config=decoding(
                    self._model,
                    self._processor,
                    max(prompt.limit for prompt in prompts),
                    sampling.temperature,
                    sampling.top_p,
                ),
                stopping_criteria=StoppingCriteriaList([_Ended(streams)]),
            )

    def _limit(self, length: int, asked: int | None) -> int:
        if asked is not None and asked > self._max_tokens:
            raise DataError(
                f"{asked} tokens are asked for, an answer may have {self._max_tokens}: ask for less"
            )
        limit = min(asked or self._max_tokens, self._max_tokens)
        if self._positions is None:
            return limit
        room = self._positions - length
        if room < 1 or (asked is not None and asked > room):
            raise DataError(
                f"the prompt has {length} tokens and {asked or 1} are asked for, the model has "
                f"{self._positions} positions: shorten the conversation or the answer"
            )
        return min(limit, room)


class _Ended(StoppingCriteria):  # type: ignore[misc]
    """Hands every new token to its stream and stops the rows that have ended."""

    def __init__(self, streams: Sequence[TextStream]) -> None:
        self._streams = streams

    def __call__(self, input_ids: torch.Tensor, scores: Any, **kwargs: Any) -> torch.Tensor:
        newest = input_ids[:, -1].tolist()
        ended = [stream.push(token) for stream, token in zip(self._streams, newest, strict=True)]
        return torch.tensor(ended, device=input_ids.device)


def _answer(prompt: Prompt, stream: TextStream) -> Answer:
    first = stream.last if stream.first is None else stream.first
    return Answer(
        text=stream.text,
        finish=stream.finish or "length",
        prompt_tokens=len(prompt.encoded),
        completion_tokens=stream.count,
        first_token_seconds=prompt.seconds + first - stream.begin,
        seconds=prompt.seconds + stream.last - stream.begin,
    )
