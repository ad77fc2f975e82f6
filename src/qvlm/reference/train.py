"""Trains pico-llava from scratch: `python -m qvlm.reference.train --output DIR --seed 0`.

Two data-parallel processes of one thread each average their gradients, so the same seed gives
the same weights on the same machine and library versions.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from transformers import LlavaForConditionalGeneration
from transformers.utils import logging as transformers_logging

from qvlm.reference.build import build_model, build_processor, save, train_tokenizer
from qvlm.reference.evaluation import Evaluation
from qvlm.reference.picoscience.families import generate
from qvlm.reference.plan import Phase, Plan, learning_rate
from qvlm.reference.prompts import LETTERS, question_prompt
from qvlm.reference.samples import NO_THOUGHT, Batch, Lesson
from qvlm.reference.share import Share

log = logging.getLogger("qvlm.reference.train")

RANKS = 2
"""Data-parallel processes; another number is another training run."""
THOUGHT_LAYER = 6
"""Of the language model's eight layers, those that a thought may take."""
TOKENIZER_QUESTIONS = 13_800
"""The tokenizer is learnt from this many of the training questions."""


def answer_loss(model: LlavaForConditionalGeneration, batch: Batch, lesson: Lesson) -> torch.Tensor:
    """Returns the weighted mean cross-entropy over the batch's target tokens, a scalar.

    Words of the prompt are targets of the lesson's prompt weight. With a thought weight, the
    hidden state after `THOUGHT_LAYER` layers, read by the model's own head, must also give the
    answer's telling word where the letter is due: the last layers then only have to find the
    letter of that word, the same for every family.
    """
    thinks = lesson.thought_weight > 0
    output = model.model(
        input_ids=batch.ids,
        attention_mask=batch.mask,
        pixel_values=batch.pixels,
        use_cache=False,
        output_hidden_states=thinks,
    )
    words = (batch.mask > 0) & (batch.ids != model.config.image_token_id) & (batch.weights == 0)
    weights = (batch.weights + lesson.prompt_weight * words)[:, 1:]
    chosen = weights > 0
    logits = model.lm_head(output.last_hidden_state[:, :-1][chosen])
    losses = torch.nn.functional.cross_entropy(logits, batch.ids[:, 1:][chosen], reduction="none")
    loss: torch.Tensor = (losses * weights[chosen]).sum() / weights[chosen].sum()
    due = batch.thoughts[:, 1:] != NO_THOUGHT
    if thinks and bool(due.any()):
        middle = model.model.language_model.norm(output.hidden_states[THOUGHT_LAYER][:, :-1][due])
        thought = torch.nn.functional.cross_entropy(
            model.lm_head(middle), batch.thoughts[:, 1:][due]
        )
        loss = loss + lesson.thought_weight * thought
    return loss


def average_gradients(parameters: Sequence[torch.nn.Parameter]) -> None:
    """Averages the gradients over the ranks through one flat buffer."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    for gradient in gradients:
        gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


def optimizer_for(model: torch.nn.Module, plan: Plan) -> torch.optim.AdamW:
    """Returns AdamW with weight decay on matrices only."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": plan.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=plan.peak_rate, betas=(0.9, 0.98), fused=True)


def fit(
    model: LlavaForConditionalGeneration,
    streams: Mapping[str, Iterator[Batch]],
    evaluate: Evaluation,
    plan: Plan,
    phase: Phase,
    checkpoint: Callable[[], None],
) -> None:
    """Runs the phase's fixed number of steps; `checkpoint` is called on rank 0 only."""
    optimizer = optimizer_for(model, plan)
    parameters = list(model.parameters())
    running, started = 0.0, time.monotonic()
    model.train()
    for step in range(phase.steps):
        batch = next(streams[phase.cycle[step % len(phase.cycle)]])
        loss = answer_loss(model, batch, phase.lesson)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        average_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, plan.clip)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(plan.peak_rate, phase, step)
        optimizer.step()
        running = loss.item() if step == 0 else 0.98 * running + 0.02 * loss.item()
        done, last = step + 1, step + 1 == phase.steps
        if done % 50 == 0:
            seconds = time.monotonic() - started
            log.info("step %d loss %.3f seconds %.0f", done, running, seconds)
        if done % plan.evaluate_every == 0 or last:
            scores = evaluate(model)
            families = " ".join(f"{name} {value:.2f}" for name, value in scores.items())
            log.info("step %d accuracy %.3f  %s", done, fmean(scores.values()), families)
        if dist.get_rank() == 0 and (done % plan.save_every == 0 or last):
            checkpoint()


def set_up_process(rank: int, output: Path, rendezvous: str) -> None:
    """Sets one thread, logging (rank 0 also to `output/train.log`) and the process group."""
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if rank == 0:
        handlers.append(logging.FileHandler(output / "train.log", mode="w"))
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", handlers=handlers
    )
    log.setLevel(logging.INFO if rank == 0 else logging.WARNING)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=RANKS)


def train_rank(rank: int, plan: Plan, output: Path, rendezvous: str) -> None:
    """Runs one rank; rank 0 logs and writes checkpoints, then the result, to `output`."""
    set_up_process(rank, output, rendezvous)
    started = time.monotonic()
    log.info("%s", plan)
    problems = generate("train", plan.train_questions, plan.seed)
    texts = [f" {letter}" for letter in LETTERS] * 1000
    texts += [
        question_prompt(p.question, p.hint, p.choices, False) + f" {p.solution}"
        for p in problems[:TOKENIZER_QUESTIONS]
    ]
    processor = build_processor(train_tokenizer(texts))
    share = Share(problems, processor, rank, RANKS)
    del problems
    evaluate = Evaluation(generate("val", plan.val_questions, plan.seed), processor, rank)
    model = build_model(processor.tokenizer, plan.seed)
    size = sum(parameter.numel() for parameter in model.parameters())
    log.info("data ready after %.0f s, %d parameters", time.monotonic() - started, size)
    for phase in plan.phases:
        log.info("%s", phase)
        streams = share.streams(plan, phase)
        fit(model, streams, evaluate, plan, phase, lambda: save(output, model, processor))
    dist.destroy_process_group()


def main() -> None:
    """Reads the command line and starts the ranks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the model")
    parser.add_argument("--seed", type=int, default=Plan.seed)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    options.output.mkdir(parents=True, exist_ok=True)
    plan = Plan(seed=options.seed)
    with tempfile.TemporaryDirectory() as folder:
        rendezvous = (Path(folder) / "rendezvous").as_uri()
        mp.spawn(  # type: ignore[attr-defined, no-untyped-call]
            train_rank, args=(plan, options.output, rendezvous), nprocs=RANKS
        )


if __name__ == "__main__":
    main()
