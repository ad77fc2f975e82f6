"""Letter accuracy on validation questions while the model trains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch
import torch.distributed as dist
from transformers import LlavaForConditionalGeneration, LlavaProcessor

from qvlm.reference.picoscience.problem import Problem
from qvlm.reference.prompts import LETTERS, question_prompt
from qvlm.reference.samples import (
    NO_THOUGHT,
    Encoded,
    Item,
    collate,
    encode_prompt,
    index_pictures,
    normalise,
    resize_pictures,
)


class Evaluation:
    """Letter accuracy on validation questions, shared between the ranks."""

    def __init__(self, problems: Sequence[Problem], processor: LlavaProcessor, rank: int) -> None:
        """Each rank keeps its share of the questions."""
        share = problems[rank :: dist.get_world_size()]
        self._processor = processor
        self._pictures = resize_pictures(processor, share)
        items = index_pictures(share)
        self._groups = [
            [item for item in items if (item.picture >= 0) == with_image]
            for with_image in (True, False)
        ]
        self._families = sorted({problem.family for problem in problems})

    @torch.no_grad()
    def __call__(self, model: LlavaForConditionalGeneration) -> dict[str, float]:
        """Returns accuracy per family, of the most likely next token after the prompt."""
        right, total = Counter[str](), Counter[str]()
        model.eval()
        for group in self._groups:
            for start in range(0, len(group), 32):
                items = group[start : start + 32]
                for item, letter in zip(items, self._letters(model, items), strict=True):
                    total[item.problem.family] += 1
                    right[item.problem.family] += letter == LETTERS[item.problem.answer]
        model.train()
        counts = torch.tensor([[right[name], total[name]] for name in self._families])
        dist.all_reduce(counts)
        return {
            name: counts[index, 0].item() / counts[index, 1].item()
            for index, name in enumerate(self._families)
        }

    def _letters(self, model: LlavaForConditionalGeneration, items: Sequence[Item]) -> list[str]:
        """Returns the model's one-token replies to the questions in letter mode."""
        tokenizer = self._processor.tokenizer
        rows = []
        for item in items:
            problem = item.problem
            prompt = question_prompt(
                problem.question, problem.hint, problem.choices, item.picture >= 0
            )
            ids = [tokenizer.bos_token_id, *encode_prompt(tokenizer, prompt)]
            rows.append(Encoded(ids, [0.0] * len(ids), [NO_THOUGHT] * len(ids)))
        pixels = None
        if items[0].picture >= 0:
            index = torch.tensor([item.picture for item in items])
            pixels = normalise(self._processor, self._pictures[index])
        batch = collate(tokenizer, rows, pixels)
        hidden = model.model(
            input_ids=batch.ids, attention_mask=batch.mask, pixel_values=pixels, use_cache=False
        ).last_hidden_state
        last = batch.mask.sum(1) - 1
        tokens = model.lm_head(hidden[torch.arange(len(items)), last]).argmax(-1)
        return [tokenizer.decode([token]).strip() for token in tokens.tolist()]
