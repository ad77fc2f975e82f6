"""Short exercises in what an option's letter stands for.

A model this small does not discover from questions alone that "B" names the text behind "B.": in
a long sequence it has nothing to start from. In a sequence of twenty words it finds out within
some hundred steps, and then keeps it as the exercises grow.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from transformers import PreTrainedTokenizerFast

from qvlm.reference.picoscience.problem import Problem
from qvlm.reference.prompts import LETTERS, question_prompt
from qvlm.reference.samples import (
    NO_THOUGHT,
    Batch,
    Encoded,
    collate,
    encode_prompt,
    telling_token,
)

STAGES = ((200, 2, 1, 0.0), (350, 3, 2, 0.3))
"""(until this batch, choices at most, questions after the first, share of real choices)."""
GROWN = (4, 2, 0.6)
"""Choices at most, questions after the first and share of real choices, from then on."""


class DrillStream:
    """Endless seeded batches of drills: the question is a choice's own text."""

    def __init__(
        self,
        problems: Sequence[Problem],
        tokenizer: PreTrainedTokenizerFast,
        batch_size: int,
        seed: str,
        *,
        grown: bool,
    ) -> None:
        """`grown` skips the short exercises."""
        self._real = sorted({tuple(sorted(problem.choices)) for problem in problems})
        words = sorted({choice for choices in self._real for choice in choices})
        self._words = [
            word
            for word in words
            if len(tokenizer.encode(f" {word}", add_special_tokens=False)) == 1
        ]
        self._tokenizer = tokenizer
        self._batch_size = batch_size
        self._rng = random.Random(seed)
        self._grown = grown

    def __iter__(self) -> Iterator[Batch]:
        """Yields batches for ever."""
        number = 0
        while True:
            stage = next((stage[1:] for stage in STAGES if number < stage[0]), GROWN)
            rows = [self._row(GROWN if self._grown else stage) for _ in range(self._batch_size)]
            yield collate(self._tokenizer, rows, None)
            number += 1

    def _row(self, stage: tuple[int, int, float]) -> Encoded:
        """Returns one sequence: a question whose words are a choice's text, then more of them."""
        most, more, real = stage
        rng, tokenizer = self._rng, self._tokenizer
        if rng.random() < real:
            choices = list(rng.choice(self._real))
            rng.shuffle(choices)
        else:
            choices = rng.sample(self._words, rng.randint(2, most))
        sequence = Encoded([tokenizer.bos_token_id], [0.0], [NO_THOUGHT])
        for turn in range(1 + more):
            index = rng.randrange(len(choices))
            text = choices[index]
            prompt = encode_prompt(
                tokenizer, text if turn else question_prompt(text, "", choices, False)
            )
            reply = tokenizer.encode(f" {LETTERS[index]}", add_special_tokens=False)
            thought = telling_token(tokenizer, choices, index)
            sequence.say(prompt, reply, 1.0, (tokenizer.eos_token_id, 0.0), thought)
        return sequence
