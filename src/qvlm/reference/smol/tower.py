"""First stage: the vision tower learns to tell every fact, as a classifier."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Sequence

import torch
from torch import nn
from transformers import CLIPVisionModel

from qvlm.reference.smol.architecture import vision_config
from qvlm.reference.smol.pictures import Pictures, augment, normalise
from qvlm.reference.smol.plan import Plan, Schedule
from qvlm.reference.smolqa.attributes import ANSWERS, Facts

log = logging.getLogger("qvlm.reference.smol")

UNASKED = -1


class Classifier(nn.Module):
    """The tower and one linear head for the answers of all kinds of question."""

    def __init__(self) -> None:
        super().__init__()
        config = vision_config()
        self.tower = CLIPVisionModel(config)
        # The usual 0.02 would leave positions at a few per cent of the patches' content.
        self.tower.embeddings.position_embedding.weight.data.normal_(0.0, 0.3)
        self.norm = nn.LayerNorm(config.hidden_size)
        self.head = nn.Linear(config.hidden_size, sum(map(len, ANSWERS.values())))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Returns logits [pictures, answers of all kinds], read off the mean patch token."""
        patches = self.tower(pixels).last_hidden_state[:, 1:]
        logits: torch.Tensor = self.head(self.norm(patches).mean(1))
        return logits


def targets(facts: Sequence[Facts]) -> torch.Tensor:
    """Returns the index of every kind's answer [pictures, kinds], `UNASKED` where it has none."""
    rows = [
        [answers.index(row[kind]) if kind in row else UNASKED for kind, answers in ANSWERS.items()]
        for row in facts
    ]
    return torch.tensor(rows)


def split_kinds(logits: torch.Tensor) -> list[torch.Tensor]:
    """Returns the logits of each kind of question."""
    sizes = [len(answers) for answers in ANSWERS.values()]
    return list(torch.split(logits, sizes, dim=1))


def facts_loss(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Returns the cross-entropy over all facts of all pictures, divided by the pictures."""
    losses = [
        nn.functional.cross_entropy(part, column, ignore_index=UNASKED, reduction="sum")
        for part, column in zip(split_kinds(logits), wanted.T, strict=True)
    ]
    return torch.stack(losses).sum() / len(wanted)


def endless(count: int, size: int, rng: random.Random) -> Iterator[list[int]]:
    """Yields batches of indices for ever, every index once per pass."""
    while True:
        order = rng.sample(range(count), count)
        for start in range(0, count - size + 1, size):
            yield order[start : start + size]


def optimizer_for(modules: Sequence[nn.Parameter], schedule: Schedule) -> torch.optim.AdamW:
    """Returns AdamW with weight decay on matrices only."""
    matrices = [parameter for parameter in modules if parameter.ndim > 1]
    vectors = [parameter for parameter in modules if parameter.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": schedule.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=schedule.peak_rate, betas=(0.9, 0.98), fused=True)


@torch.no_grad()
def accuracies(model: Classifier, pictures: Pictures, batch_size: int = 256) -> dict[str, float]:
    """Returns the accuracy of each kind of question that the pictures have."""
    model.eval()
    parts = []
    for start in range(0, len(pictures), batch_size):
        rows = range(start, min(start + batch_size, len(pictures)))
        logits = model(normalise(pictures.take(list(rows))))
        parts.append(torch.stack([part.argmax(1) for part in split_kinds(logits)], dim=1))
    model.train()
    wanted, found = targets(pictures.facts), torch.cat(parts)
    result = {}
    for column, kind in enumerate(ANSWERS):
        asked = wanted[:, column] != UNASKED
        if bool(asked.any()):
            right = (wanted[:, column] == found[:, column])[asked]
            result[kind] = right.float().mean().item()
    return result


def train_tower(
    photos: Pictures, drawn: Pictures, held_out: Sequence[Pictures], plan: Plan
) -> Classifier:
    """Returns the classifier after the plan's steps; accuracies go to the log."""
    torch.manual_seed(plan.seed)
    rng = random.Random(f"{plan.seed}/tower")
    noise = torch.Generator().manual_seed(rng.getrandbits(48))
    model = Classifier().train()
    schedule = plan.tower
    optimizer = optimizer_for(list(model.parameters()), schedule)
    streams = [endless(len(part), plan.tower_batch, rng) for part in (photos, drawn)]
    started, running = time.monotonic(), 0.0
    for step in range(schedule.steps):
        chosen = [next(stream) for stream in streams]
        pixels = torch.cat(
            [
                augment(part.take(rows), rng, noise)
                for part, rows in zip((photos, drawn), chosen, strict=True)
            ]
        )
        facts = [
            part.facts[row]
            for part, rows in zip((photos, drawn), chosen, strict=True)
            for row in rows
        ]
        loss = facts_loss(model(pixels), targets(facts))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), plan.clip)
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        optimizer.step()
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        done = step + 1
        if done % 50 == 0:
            log.info("tower %d loss %.3f seconds %.0f", done, running, time.monotonic() - started)
        if done % 400 == 0 or done == schedule.steps:
            scores = {k: v for part in held_out for k, v in accuracies(model, part).items()}
            text = " ".join(f"{kind} {100 * value:.1f}" for kind, value in scores.items())
            log.info("tower %d accuracy %s", done, text)
    return model.eval()
