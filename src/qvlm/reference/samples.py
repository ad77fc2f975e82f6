"""Turns questions into training sequences and padded batches."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from transformers import LlavaProcessor, PreTrainedTokenizerFast

from qvlm.reference.build import IMAGE_TOKENS
from qvlm.reference.picoscience.problem import Problem
from qvlm.reference.prompts import INSTRUCTIONS, LETTERS, Mode, question_prompt

_END_WEIGHT = 0.1
_BATCHES_PER_POOL = 8
"""Batches are cut from a pool of this many, sorted by length, so little is padding."""


NO_THOUGHT = -100


@dataclass(frozen=True)
class Encoded:
    """One sequence: ids, loss weights and thoughts of its tokens, all of one length."""

    ids: list[int]
    weights: list[float]
    thoughts: list[int]

    def say(self, prompt: list[int], reply: list[int], weight: float, end: tuple[int, float],
            thought: int = NO_THOUGHT) -> None:  # fmt: skip
        """Appends a turn; `end` is the end token and its weight."""
        self.ids.extend([*prompt, *reply, end[0]])
        self.weights.extend([0.0] * len(prompt) + [weight] * len(reply) + [end[1]])
        self.thoughts.extend([NO_THOUGHT] * len(prompt) + [thought] + [NO_THOUGHT] * len(reply))


def telling_token(tokenizer: PreTrainedTokenizerFast, choices: Sequence[str], answer: int) -> int:
    """Returns the first token of the right choice that no other choice has, or else its first."""
    tokens: list[list[int]] = [
        tokenizer.encode(f" {choice}", add_special_tokens=False) for choice in choices
    ]
    others = {token for i, ids in enumerate(tokens) if i != answer for token in ids}
    return next((token for token in tokens[answer] if token not in others), tokens[answer][0])


@dataclass(frozen=True)
class Item:
    """A question with its choices in some order, and its picture's index or -1."""

    problem: Problem
    picture: int


@dataclass(frozen=True)
class Batch:
    """Right-padded sequences.

    `ids` and `weights` are [batch, length]; a weight is the loss weight of the token at that
    place as a target, 0 for everything that is not an answer. `thoughts`, [batch, length], has the
    telling token of the right choice where its letter stands, elsewhere `NO_THOUGHT`. `pixels` is
    [batch, 3, 56, 56].
    """

    ids: torch.Tensor
    mask: torch.Tensor
    weights: torch.Tensor
    thoughts: torch.Tensor
    pixels: torch.Tensor | None


def resize_pictures(processor: LlavaProcessor, problems: Sequence[Problem]) -> torch.Tensor:
    """Returns the pictures as the processor resizes them, uint8 [pictures, 3, 56, 56]."""
    images = [problem.image for problem in problems if problem.image is not None]
    rows = [
        processor.image_processor(
            image, do_rescale=False, do_normalize=False, return_tensors="np"
        ).pixel_values[0]
        for image in images
    ]
    return torch.from_numpy(np.stack(rows).astype(np.uint8))


def index_pictures(problems: Sequence[Problem]) -> list[Item]:
    """Returns the questions without their pictures, which `resize_pictures` holds in order."""
    items, pictures = [], 0
    for problem in problems:
        has_image = problem.image is not None
        items.append(Item(problem, pictures if has_image else -1))
        pictures += has_image
    return items


def normalise(processor: LlavaProcessor, pictures: torch.Tensor) -> torch.Tensor:
    """Returns uint8 pictures as the processor normalises them, float32."""
    mean = torch.tensor(processor.image_processor.image_mean).view(1, 3, 1, 1)
    std = torch.tensor(processor.image_processor.image_std).view(1, 3, 1, 1)
    return (pictures.float() / 255.0 - mean) / std


@dataclass(frozen=True)
class Lesson:
    """What training sequences consist of, and what their answers weigh in the loss.

    A sequence is a question with two replies, an answer and an explanation. An explanation first
    makes the letter easy, which teaches what a letter stands for.
    """

    explain_first: float
    """Share of sequences that explain, then answer with the letter."""
    phrase: float
    """Share that answers in words, without seeing the choices, then explains."""
    answer_weight: float
    explanation_weight: float
    thought_weight: float
    """Weight of the answer's word inside the model where the letter is due, see `answer_loss`."""
    prompt_weight: float
    """Weight of the prompt's own words, which repeat one another and describe the picture."""


Turn = tuple[Mode, str, str, float]
"""The mode, the user's text, the reply, and the loss weight of the reply's tokens."""


def turns(rng: random.Random, item: Item, lesson: Lesson) -> tuple[list[Turn], list[str], int]:
    """Returns the turns of one sequence, its choices in a fresh order, and the answer's index."""
    problem = item.problem
    order = rng.sample(range(len(problem.choices)), len(problem.choices))
    choices = [problem.choices[index] for index in order]
    answer = order.index(problem.answer)
    targets: dict[Mode, tuple[str, float]] = {
        "letter": (LETTERS[answer], lesson.answer_weight),
        "phrase": (choices[answer], lesson.answer_weight),
        "explain": (problem.solution, lesson.explanation_weight),
    }
    draw = rng.random()
    first: Mode = "letter"
    second: Mode = "explain"
    if draw < lesson.explain_first:
        first, second = "explain", "letter"
    elif draw < lesson.explain_first + lesson.phrase and problem.self_contained:
        first = "phrase"
    question = question_prompt(problem.question, problem.hint, choices, item.picture >= 0, first)
    drawn: list[Turn] = [
        (first, question, *targets[first]),
        (second, INSTRUCTIONS[second], *targets[second]),
    ]
    return drawn, choices, answer


def encode_prompt(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    """Returns the ids of a user's turn up to the reply, as processor and chat template give them.

    The sequence's leading `<s>` is left to the caller.
    """
    text = text.replace("<image>", "<image>" * IMAGE_TOKENS)
    ids: list[int] = tokenizer.encode(f"USER: {text} ASSISTANT:", add_special_tokens=False)
    return ids


def encode(
    tokenizer: PreTrainedTokenizerFast, rng: random.Random, item: Item, lesson: Lesson
) -> Encoded:
    """Returns one sequence about the question."""
    drawn, choices, answer = turns(rng, item, lesson)
    sequence = Encoded([tokenizer.bos_token_id], [0.0], [NO_THOUGHT])
    end = (tokenizer.eos_token_id, _END_WEIGHT)
    for mode, text, target, weight in drawn:
        reply = tokenizer.encode(f" {target}", add_special_tokens=False)
        thought = telling_token(tokenizer, choices, answer) if mode == "letter" else NO_THOUGHT
        sequence.say(encode_prompt(tokenizer, text), reply, weight, end, thought)
    return sequence


def collate(
    tokenizer: PreTrainedTokenizerFast,
    rows: Sequence[Encoded],
    pixels: torch.Tensor | None,
) -> Batch:
    """Returns the sequences right-padded to the longest."""
    length = max(len(row.ids) for row in rows)
    batch = torch.full((len(rows), length), tokenizer.pad_token_id, dtype=torch.long)
    mask = torch.zeros((len(rows), length), dtype=torch.long)
    weights = torch.zeros((len(rows), length))
    thoughts = torch.full((len(rows), length), NO_THOUGHT, dtype=torch.long)
    for index, row in enumerate(rows):
        size = len(row.ids)
        batch[index, :size] = torch.tensor(row.ids)
        mask[index, :size] = 1
        weights[index, :size] = torch.tensor(row.weights)
        thoughts[index, :size] = torch.tensor(row.thoughts)
    return Batch(batch, mask, weights, thoughts, pixels)


class Stream:
    """Endless seeded batches from one rank's share of the questions of one kind."""

    def __init__(
        self,
        items: Sequence[Item],
        pictures: torch.Tensor | None,
        processor: LlavaProcessor,
        batch_size: int,
        lesson: Lesson,
        seed: str,
    ) -> None:
        """`pictures` is uint8 [n, 3, 56, 56], or None for questions without one."""
        self._items = list(items)
        self._pictures = pictures
        self._processor = processor
        self._batch_size = batch_size
        self._lesson = lesson
        self._rng = random.Random(seed)
        self._noise = torch.Generator().manual_seed(self._rng.getrandbits(48))

    def _augment(self, pictures: torch.Tensor) -> torch.Tensor:
        """Returns normalised pictures with random brightness, shift and grain."""
        dx, dy = self._rng.randint(-2, 2), self._rng.randint(-2, 2)
        padded = torch.nn.functional.pad(pictures.float(), (2, 2, 2, 2), mode="replicate")
        moved = padded[:, :, 2 + dy : 58 + dy, 2 + dx : 58 + dx]
        pixels = normalise(self._processor, moved)
        count = (len(pixels), 1, 1, 1)
        gain = 1.0 + 0.1 * (torch.rand(count, generator=self._noise) - 0.5)
        return pixels * gain + 0.03 * torch.randn(pixels.shape, generator=self._noise)

    def __iter__(self) -> Iterator[Batch]:
        """Yields batches for ever; every question comes once per pass."""
        tokenizer = self._processor.tokenizer
        while True:
            order = self._rng.sample(range(len(self._items)), len(self._items))
            size = self._batch_size
            for start in range(0, len(order) - size + 1, size * _BATCHES_PER_POOL):
                pool = [self._items[i] for i in order[start : start + size * _BATCHES_PER_POOL]]
                rows = [(item, encode(tokenizer, self._rng, item, self._lesson)) for item in pool]
                rows.sort(key=lambda row: len(row[1].ids))
                starts = list(range(0, len(rows) - size + 1, size))
                self._rng.shuffle(starts)
                for first in starts:
                    yield self._batch(rows[first : first + size])

    def _batch(self, rows: Sequence[tuple[Item, Encoded]]) -> Batch:
        """Returns the batch of encoded questions, with augmented pictures if they have any."""
        pixels = None
        if self._pictures is not None:
            index = torch.tensor([item.picture for item, _ in rows])
            pixels = self._augment(self._pictures[index])
        return collate(self._processor.tokenizer, [encoded for _, encoded in rows], pixels)
