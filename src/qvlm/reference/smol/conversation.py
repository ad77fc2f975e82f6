"""Several questions about one picture in one training sequence, none of which sees another.

A sequence is the prefix (user header and picture) followed by turns. Every turn attends to the
prefix and to itself, and its positions go on where the prefix ends, so that each is computed
exactly as if it stood alone, while the picture's tokens are paid for once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerFast

from qvlm.reference.smol.architecture import IMAGE_TOKENS
from qvlm.reference.smolqa.questions import Question

IMAGE_TOKEN = "<image>"

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}"
    "{% for part in message['content'] if part['type'] == 'image' %}{{ '<image>\n' }}{% endfor %}"
    "{% for part in message['content'] if part['type'] == 'text' %}{{ part['text'] }}{% endfor %}"
    "{% endif %}{{ '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
"""The language model's own format, without a system prompt."""

END_WEIGHT = 0.3
"""Loss weight of the end token; words of an answer weigh 1."""


@dataclass(frozen=True)
class Batch:
    """Right-padded sequences.

    `ids` and `positions` are [batch, length]. `mask` is [batch, 1, length, length], 0 where a
    token may look and -inf elsewhere. `targets` [n, 3] holds sequence, place and next token of
    every token that is learnt, `weights` [n] its loss weight. `picture` is where the image tokens
    start and where they end, the same in every sequence.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    mask: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    picture: tuple[int, int]


class Encoder:
    """Turns pictures' questions into batches."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, image_tokens: int = IMAGE_TOKENS
    ) -> None:
        """`tokenizer` knows `<image>`; a picture takes `image_tokens` places."""
        self._tokenizer = tokenizer
        self._end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        self.prefix = self._encode(f"<|im_start|>user\n{IMAGE_TOKEN * image_tokens}\n")
        first = self.prefix.index(tokenizer.convert_tokens_to_ids(IMAGE_TOKEN))
        self._picture = (first, first + image_tokens)

    def turn(self, question: Question) -> tuple[list[int], list[int]]:
        """Returns the ids of the question up to the reply, and of the reply with its end."""
        asked = self._encode(f"{question.prompt}<|im_end|>\n<|im_start|>assistant\n")
        return asked, [*self._encode(question.reply), self._end]

    def batch(self, conversations: Sequence[Sequence[Question]]) -> Batch:
        """Returns the questions about each picture as one sequence per picture."""
        turns = [[self.turn(question) for question in row] for row in conversations]
        start = len(self.prefix)
        lengths = [start + sum(len(a) + len(r) for a, r in row) for row in turns]
        longest = max(lengths)
        ids = torch.full((len(turns), longest), self._end)
        positions = torch.zeros((len(turns), longest), dtype=torch.long)
        allowed = torch.zeros((len(turns), longest, longest), dtype=torch.bool)
        targets: list[tuple[int, int, int]] = []
        weights: list[float] = []
        for row, parts in enumerate(turns):
            ids[row, :start] = torch.tensor(self.prefix)
            positions[row, :start] = torch.arange(start)
            allowed[row, :, :start] = True
            place = start
            for asked, reply in parts:
                size = len(asked) + len(reply)
                turn = slice(place, place + size)
                ids[row, turn] = torch.tensor([*asked, *reply])
                positions[row, turn] = torch.arange(start, start + size)
                allowed[row, turn, turn] = True
                first = place + len(asked) - 1
                targets += [(row, first + n, token) for n, token in enumerate(reply)]
                weights += [1.0] * (len(reply) - 1) + [END_WEIGHT]
                place += size
        allowed &= torch.ones(longest, longest, dtype=torch.bool).tril()
        mask = torch.zeros(allowed.shape).masked_fill_(~allowed, float("-inf"))
        return Batch(
            ids, positions, mask[:, None], torch.tensor(targets), torch.tensor(weights),
            self._picture,
        )  # fmt: skip

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids
