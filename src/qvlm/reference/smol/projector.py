"""Second stage: the projector's start, before any pass through the language model.

The mean of a picture's projected tokens must be nearest, by cosine, to the language model's own
embedding of the answer's words, for every fact about the picture. The language model then finds
the answer's words in front of the question from its first step on.
"""

from __future__ import annotations

import logging
import random

import torch
from torch import nn
from transformers import CLIPVisionModel, PreTrainedTokenizerFast

from qvlm.reference.smol.pictures import Pictures, augment
from qvlm.reference.smol.plan import Plan
from qvlm.reference.smol.tower import endless, facts_loss, optimizer_for, targets
from qvlm.reference.smolqa.attributes import ANSWERS

log = logging.getLogger("qvlm.reference.smol")

_SHARPNESS = 15.0
"""Logit of a cosine of 1."""


@torch.no_grad()
def answer_embeddings(table: torch.Tensor, tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """Returns the mean embedding of every answer's tokens [answers, width], common mean removed."""
    rows = [
        table[tokenizer.encode(f" {answer}", add_special_tokens=False)].mean(0)
        for answers in ANSWERS.values()
        for answer in answers
    ]
    return torch.stack(rows) - table.mean(0)


def start_projector(
    tower: CLIPVisionModel,
    projector: nn.Module,
    table: torch.Tensor,
    tokenizer: PreTrainedTokenizerFast,
    photos: Pictures,
    drawn: Pictures,
    plan: Plan,
) -> None:
    """Trains the projector in place on features of the frozen tower."""
    rng = random.Random(f"{plan.seed}/start")
    noise = torch.Generator().manual_seed(rng.getrandbits(48))
    answers = nn.functional.normalize(answer_embeddings(table, tokenizer), dim=1)
    centre, length = table.mean(0), table.norm(dim=1).mean()
    schedule = plan.start
    optimizer = optimizer_for(list(projector.parameters()), schedule)
    streams = [endless(len(part), plan.tower_batch, rng) for part in (photos, drawn)]
    for step in range(schedule.steps):
        pixels, facts = [], []
        for part, stream in zip((photos, drawn), streams, strict=True):
            rows = next(stream)
            pixels.append(augment(part.take(rows), rng, noise))
            facts += [part.facts[row] for row in rows]
        with torch.no_grad():
            features = tower(torch.cat(pixels)).last_hidden_state[:, 1:]
        tokens = projector(features)
        found = nn.functional.normalize(tokens.mean(1) - centre, dim=1)
        wanted = targets(facts)
        loss = facts_loss(_SHARPNESS * found @ answers.T, wanted)
        # Tokens as long as the words that the language model is used to.
        loss = loss + (tokens.norm(dim=-1) / length - 1.0).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(projector.parameters(), plan.clip)
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        optimizer.step()
        if (step + 1) % 50 == 0:
            log.info("start %d loss %.3f", step + 1, loss.item())
