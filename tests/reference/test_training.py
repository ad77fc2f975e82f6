"""How pico-llava is trained: sequences, drills, rates, and two steps end to end."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from transformers import LlavaProcessor

from qvlm.reference.build import build_model, build_processor, save, train_tokenizer
from qvlm.reference.drills import DrillStream
from qvlm.reference.evaluation import Evaluation
from qvlm.reference.picoscience import Problem, generate
from qvlm.reference.plan import ANSWER, BIND, SEE, Plan, learning_rate
from qvlm.reference.prompts import LETTERS, question_prompt
from qvlm.reference.samples import NO_THOUGHT, encode, index_pictures
from qvlm.reference.score import interval, is_right, load
from qvlm.reference.share import Share
from qvlm.reference.train import fit


@pytest.fixture(scope="module")
def problems() -> list[Problem]:
    return generate("train", 230, seed=0)


@pytest.fixture(scope="module")
def processor(problems: list[Problem]) -> LlavaProcessor:
    texts = [f" {letter}" for letter in LETTERS] * 100
    texts += [question_prompt(p.question, p.hint, p.choices, False) for p in problems]
    return build_processor(train_tokenizer(texts))


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    rendezvous = (tmp_path / "rendezvous").as_uri()
    dist.init_process_group("gloo", init_method=rendezvous, rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize("phase", [SEE, ANSWER], ids=lambda phase: phase.name)
def test_only_replies_are_targets(phase, problems, processor) -> None:
    tokenizer, rng = processor.tokenizer, random.Random(0)
    for item in index_pictures(problems[:46]):
        row = encode(tokenizer, rng, item, phase.lesson)
        assert len(row.ids) == len(row.weights) == len(row.thoughts)
        said = tokenizer.decode([i for i, w in zip(row.ids, row.weights, strict=True) if w > 0])
        first, second, rest = said.split("</s>")
        assert rest == ""
        assert item.problem.solution in (first.strip(), second.strip())
        other = first if second.strip() == item.problem.solution else second
        assert other.strip() in {*LETTERS, item.problem.choices[item.problem.answer]}


def test_the_letter_and_its_thought_name_the_right_choice(problems, processor) -> None:
    tokenizer, rng = processor.tokenizer, random.Random(0)
    lesson = dataclasses.replace(ANSWER.lesson, explain_first=0.0, phrase=0.0)
    for item in index_pictures(problems[:46]):
        row = encode(tokenizer, rng, item, lesson)
        place = next(i for i, thought in enumerate(row.thoughts) if thought != NO_THOUGHT)
        letter = tokenizer.decode([row.ids[place]]).strip()
        listed = tokenizer.decode(row.ids[:place]).split(f"\n{letter}. ")[1].split("\n")[0]
        correct = item.problem.choices[item.problem.answer]
        assert listed == correct
        assert row.thoughts[place] in tokenizer.encode(f" {correct}", add_special_tokens=False)


def test_drills_ask_for_the_letter_of_a_choice(problems, processor) -> None:
    tokenizer = processor.tokenizer
    stream = DrillStream(problems, tokenizer, 16, "seed", grown=True)
    for batch in islice(stream, 3):
        for ids, mask in zip(batch.ids, batch.mask, strict=True):
            text = tokenizer.decode(ids[mask > 0]).removeprefix("<s>")
            turns = [turn for turn in text.split("</s>") if turn]
            options = turns[0].split("\n")[1:-1]
            for turn in turns:
                asked = turn.removeprefix("USER: ").split("\n")[0].split(" ASSISTANT:")[0]
                assert f"{turn[-1]}. {asked}" in options


def test_drills_grow_from_two_choices(problems, processor) -> None:
    short = next(iter(DrillStream(problems, processor.tokenizer, 16, "seed", grown=False)))
    grown = next(iter(DrillStream(problems, processor.tokenizer, 16, "seed", grown=True)))
    assert short.ids.shape[1] < grown.ids.shape[1]


def test_batches_are_seeded(problems, processor) -> None:
    def first_ids(seed: int) -> list[torch.Tensor]:
        streams = Share(problems, processor, 0, 2).streams(Plan(seed=seed), SEE)
        image = next(streams["image"])
        return [image.ids, image.pixels, next(streams["text"]).ids]

    for left, right in zip(first_ids(0), first_ids(0), strict=True):
        assert torch.equal(left, right)
    assert not torch.equal(first_ids(0)[1], first_ids(1)[1])


def test_rate_warms_up_and_falls_to_zero() -> None:
    rates = [learning_rate(1.0, ANSWER, step) for step in range(ANSWER.steps)]
    assert rates[ANSWER.warmup] == pytest.approx(1.0)
    assert rates == sorted(rates[: ANSWER.warmup]) + sorted(rates[ANSWER.warmup :], reverse=True)
    assert rates[-1] < 1e-5


def test_two_steps_of_each_phase_change_the_weights(group, problems, processor, tmp_path) -> None:
    plan = Plan(image_batch=2, text_batch=2, drill_batch=2, evaluate_every=2, save_every=2)
    share = Share(problems, processor, 0, 1)
    model = build_model(processor.tokenizer, seed=0)
    evaluate = Evaluation(problems[:23], processor, 0)
    for phase in (SEE, BIND, ANSWER):
        before = model.lm_head.weight.clone()
        short = dataclasses.replace(phase, steps=2, warmup=1)
        fit(
            model, share.streams(plan, short), evaluate, plan, short,
            lambda: save(tmp_path / "model", model, processor),
        )  # fmt: skip
        assert not torch.equal(before, model.lm_head.weight)
    loaded, _ = load(tmp_path / "model")
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)


def test_same_seed_builds_the_same_model(processor) -> None:
    first = build_model(processor.tokenizer, seed=0).state_dict()
    second = build_model(processor.tokenizer, seed=0).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_interval_and_marking() -> None:
    low, high = interval(90, 100)
    assert (round(low, 3), round(high, 3)) == (0.826, 0.945)
    problem = generate("test", 1, seed=0)[0]
    letter = LETTERS[problem.answer]
    assert is_right(problem, f" {letter}")
    assert is_right(problem, f"{letter}.")
    assert not is_right(problem, "")
    assert not is_right(problem, f"{letter}lpha")
