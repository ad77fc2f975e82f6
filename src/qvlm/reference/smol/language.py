"""Third stage: projector and low-rank changes learn from the next token of the answers."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn
from transformers import CLIPVisionModel, LlamaForCausalLM

from qvlm.reference.smol.conversation import Batch, Encoder
from qvlm.reference.smol.lora import LoraLinear
from qvlm.reference.smol.pictures import Pictures, augment, normalise
from qvlm.reference.smol.plan import Plan, Schedule
from qvlm.reference.smol.tower import endless, optimizer_for
from qvlm.reference.smolqa.attributes import Facts
from qvlm.reference.smolqa.questions import MOST_CHOICES, Question, ask_choice, ask_open, drill

log = logging.getLogger("qvlm.reference.smol")

CYCLE = ("open", "open", "choice")
"""Steps take turns: two open questions about each picture, or an open one and a choice."""
GROWTH = 40
"""After so many steps of the last stage, a choice more."""
OPEN_SHARE = 0.6
"""Share of the last stage's pictures that are asked an open question too."""


class Student(nn.Module):
    """Frozen tower and language model with the parts that learn: projector and LoRA."""

    def __init__(
        self, tower: CLIPVisionModel, projector: nn.Module, language: LlamaForCausalLM
    ) -> None:
        super().__init__()
        self.tower = tower.requires_grad_(False)
        self.projector = projector
        self.language = language

    def see(self, pixels: torch.Tensor) -> torch.Tensor:
        """Returns the projected image tokens [pictures, image tokens, width]."""
        with torch.no_grad():
            features = self.tower(pixels).last_hidden_state[:, 1:]
        seen: torch.Tensor = self.projector(features)
        return seen

    def forward(self, seen: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Returns the logits of the learnt tokens [targets, vocabulary]."""
        return read(self.language, seen, batch)


def read(language: LlamaForCausalLM, seen: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Returns the logits of the learnt tokens [targets, vocabulary].

    `seen` [sequences, image tokens, width] stands where the sequences have their image tokens.
    """
    with torch.no_grad():
        words = language.model.embed_tokens(batch.ids)
    first, after = batch.picture
    embeddings = torch.cat([words[:, :first], seen, words[:, after:]], dim=1)
    hidden = language.model(
        inputs_embeds=embeddings,
        attention_mask=batch.mask,
        position_ids=batch.positions,
        use_cache=False,
    ).last_hidden_state
    logits: torch.Tensor = language.lm_head(hidden[batch.targets[:, 0], batch.targets[:, 1]])
    return logits


Ask = Callable[[random.Random, Facts, int], list[Question]]
"""(draws, facts of a picture, number of the step) -> the questions about the picture."""


def ask_briefly(rng: random.Random, facts: Facts, step: int) -> list[Question]:
    """Returns the third stage's two questions about a picture."""
    return ask(rng, facts, CYCLE[step % len(CYCLE)])


def ask_letters(rng: random.Random, facts: Facts, step: int) -> list[Question]:
    """Returns the last stage's questions: of choices, whose number grows, a drill and open ones."""
    most = min(MOST_CHOICES, 2 + step // GROWTH)
    kind = rng.choice(list(facts))
    questions = [ask_choice(rng, kind, facts[kind], most) for _ in range(2)]
    questions.append(drill(rng, most))
    if rng.random() < OPEN_SHARE:
        kind = rng.choice(list(facts))
        questions.append(ask_open(rng, kind, facts[kind]))
    return questions


def ask(rng: random.Random, facts: Facts, kind: str) -> list[Question]:
    """Returns the questions about one picture at a step of the kind."""
    names = list(facts)
    first, second = rng.sample(names, 2) if len(names) > 1 else (names[0], names[0])
    questions = [ask_open(rng, first, facts[first])]
    more = ask_open if kind == "open" else ask_choice
    return [*questions, more(rng, second, facts[second])]


def steps(
    parts: Sequence[Pictures], encoder: Encoder, batch_size: int, asked: Ask, seed: str
) -> Iterator[tuple[torch.Tensor, Batch]]:
    """Yields pixels and sequences for ever, equally many pictures of each part."""
    rng = random.Random(seed)
    noise = torch.Generator().manual_seed(rng.getrandbits(48))
    share = batch_size // len(parts)
    streams = [endless(len(part), share, rng) for part in parts]
    number = 0
    while True:
        chosen = [next(stream) for stream in streams]
        pixels, rows = [], []
        for part, indices in zip(parts, chosen, strict=True):
            pixels.append(augment(part.take(indices), rng, noise))
            rows += [asked(rng, part.facts[index], number) for index in indices]
        yield torch.cat(pixels), encoder.batch(rows)
        number += 1


def train_language(
    student: Student,
    lora: Sequence[LoraLinear],
    stream: Iterator[tuple[torch.Tensor, Batch]],
    schedule: Schedule,
    plan: Plan,
    checkpoint: Callable[[int], None],
) -> None:
    """Trains projector and LoRA in place; `checkpoint` is called with the steps done."""
    learnt = [*student.projector.parameters()]
    learnt += [parameter for layer in lora for parameter in (layer.down, layer.up)]
    optimizer = optimizer_for(learnt, schedule)
    started, running, right = time.monotonic(), 0.0, 0.0
    for step in range(schedule.steps):
        pixels, batch = next(stream)
        logits = student(student.see(pixels), batch)
        wanted = batch.targets[:, 2]
        losses = nn.functional.cross_entropy(logits, wanted, reduction="none")
        loss = (losses * batch.weights).sum() / batch.weights.sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(learnt, plan.clip)
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate(step)
        optimizer.step()
        words = batch.weights == 1.0
        hits = (logits.argmax(1) == wanted)[words].float().mean().item()
        memory = 0.0 if step == 0 else 0.95
        running = memory * running + (1 - memory) * loss.item()
        right = memory * right + (1 - memory) * hits
        done = step + 1
        if done % 10 == 0:
            seconds = time.monotonic() - started
            log.info("language %d loss %.3f tokens right %.3f seconds %.0f", done, running, right,
                     seconds)  # fmt: skip
        if done % plan.save_every == 0 or done == schedule.steps:
            checkpoint(done)


@torch.no_grad()
def exact_match(
    student: Student,
    encoder: Encoder,
    pictures: Pictures,
    rows: Sequence[int],
    rng: random.Random,
) -> dict[str, float]:
    """Returns the share of open questions whose every answer token is the likeliest, by kind."""
    right: dict[str, list[bool]] = {}
    for start in range(0, len(rows), 16):
        part = rows[start : start + 16]
        questions = [ask(rng, pictures.facts[row], "open")[0] for row in part]
        batch = encoder.batch([[question] for question in questions])
        logits = student(student.see(normalise(pictures.take(part))), batch)
        hits = logits.argmax(1) == batch.targets[:, 2]
        for index, question in enumerate(questions):
            whole = bool(hits[batch.targets[:, 0] == index].all())
            right.setdefault(question.kind, []).append(whole)
    return {kind: sum(marks) / len(marks) for kind, marks in right.items()}
