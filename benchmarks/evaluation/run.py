"""How fast questions are asked and answers are scored; writes its part of `results.json`.

1. `generation`: all test questions of PicoScience on pico-llava in full precision, in batches and
   one by one, by one process or by several that share the cores; and one by one in the loop that
   Transformers' documentation shows, with all threads. One by one is timed on a seeded part, since
   it costs the same for every question; the answers of that part have to be the same.
2. `scorers`, on made-up answers: letters, and VQA accuracy with the answers that people give most
   (drawn with the frequencies of a Zipf law) and with answers that all differ.
3. `products`: float32 linear layers by PyTorch's own library and by oneDNN, GFLOP/s.

Each part takes less than two minutes, so that a busy machine can be kept quiet for it.

Usage: python benchmarks/evaluation/run.py --part scorers
       python benchmarks/evaluation/run.py --part products
       python benchmarks/evaluation/run.py --part generation [--processes 2] [--batch-size 32]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import torch
from PIL import Image

import qvlm
from qvlm import machine
from qvlm.data import Sample, choose, open_source
from qvlm.data.prompts import render
from qvlm.evaluation import HuggingFaceGenerator
from qvlm.evaluation.ask import batches_of
from qvlm.evaluation.score import judge
from qvlm.evaluation.tasks import load_task
from qvlm.models.products import OneDNN, is_onednn_faster
from qvlm.workers import Group

HERE = Path(__file__).resolve().parent
SCORED = 200_000
SEED = 0


def asked(rank: int, processes: int, samples: list[Sample], size: int, start: Any) -> Any:
    """One process's share of the batches, after a warm-up: answers and seconds."""
    if processes > 1:
        torch.set_num_threads(max(1, torch.get_num_threads() // processes))
    model, processor = qvlm.load("pico-llava")
    generator = HuggingFaceGenerator(model, processor)
    batches = list(batches_of(samples, size))
    mine = list(Group(rank, processes).share(batches).values())
    generator.generate(mine[-1])
    start.wait()
    begin, before = time.perf_counter(), (busy(), time.process_time())
    texts = dict(
        pair
        for batch, answers in zip(mine, generator.generate_each(mine), strict=True)
        for pair in zip((sample.key for sample in batch), answers, strict=True)
    )
    seconds = time.perf_counter() - begin
    return texts, seconds, busy() - before[0], time.process_time() - before[1]


@torch.no_grad()
def plain_loop(samples: list[Sample]) -> dict[str, Any]:
    """Without this package's engine: read, process, generate and decode a question at a time."""
    model, processor = qvlm.load("pico-llava")

    def answer(sample: Sample) -> str:
        text = render(sample, processor)
        if sample.image is None:
            inputs = processor(text=text, return_tensors="pt")
        else:
            with Image.open(sample.image) as image:  # a file of PicoScience
                inputs = processor(images=image.convert("RGB"), text=text, return_tensors="pt")
        output = model.generate(**inputs, max_new_tokens=8, do_sample=False)
        new = output[0, inputs["input_ids"].shape[1] :]
        return str(processor.decode(new, skip_special_tokens=True))

    for sample in samples[:20]:
        answer(sample)
    begin, before = time.perf_counter(), (busy(), time.process_time())
    texts = {sample.key: answer(sample) for sample in samples}
    seconds = time.perf_counter() - begin
    others = busy() - before[0] - (time.process_time() - before[1])
    return {
        "texts": texts,
        "per_second": len(samples) / seconds,
        "others": max(0.0, others) / seconds,
    }


def busy() -> float:
    """Seconds in which the machine's processors did anything, since it started."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def timed(samples: list[Sample], size: int, processes: int) -> dict[str, Any]:
    """All samples asked by some processes at once; the slowest decides."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(processes, context) as pool:
        start = manager.Barrier(processes)
        works = [
            pool.submit(asked, rank, processes, samples, size, start) for rank in range(processes)
        ]
        done = [work.result() for work in works]
    seconds = max(second for _, second, _, _ in done)
    texts = {key: text for answers, *_ in done for key, text in answers.items()}
    # Threads that wait for each other lose far more to a busy neighbour than its share.
    others = max(machine for _, _, machine, _ in done) - sum(own for *_, own in done)
    return {
        "texts": texts,
        "seconds": seconds,
        "per_second": len(samples) / seconds,
        "others": max(0.0, others) / seconds,
    }


def generation(batch_size: int, alone: int, processes: int) -> dict[str, Any]:
    samples = open_source("picoscience", "test")
    part = choose(samples, alone, SEED)
    plain = plain_loop(part)
    single = timed(part, 1, processes)
    together = timed(samples, batch_size, processes)
    differing = [
        sample.key
        for sample in part
        for way in (plain, single)
        if way["texts"][sample.key] != together["texts"][sample.key]
    ]
    marks = judge(samples, together["texts"], load_task("picoscience").load_scorer())
    return {
        "model": "pico-llava, full precision",
        "processes": processes,
        "threads_per_process": max(1, torch.get_num_threads() // processes),
        "questions": len(samples),
        "batch_size": batch_size,
        "accuracy": 100 * sum(mark or 0 for mark in marks.values()) / len(marks),
        "seconds": together["seconds"],
        "questions_per_second": together["per_second"],
        "asked_one_by_one": alone,
        "one_by_one_per_second": single["per_second"],
        "plain_loop_per_second": plain["per_second"],
        "speedup_over_one_by_one": together["per_second"] / single["per_second"],
        "speedup_over_plain_loop": together["per_second"] / plain["per_second"],
        "answers_that_differ": differing,
        "processors_busy_with_others": max(w["others"] for w in (together, single, plain)),
    }


def words(rng: random.Random) -> list[str]:
    """As many short answers as people give to most questions, some with signs."""
    signs = ("", "", "", "", ".", "!", ", yes", "'s", "-blue")
    return [
        "".join(rng.choice("aeioubcdlmnrst") for _ in range(rng.randint(2, 8))) + rng.choice(signs)
        for _ in range(3_000)
    ]


def references(draw: Callable[[], str], rng: random.Random) -> tuple[str, ...]:
    """Ten people, of whom about six agree."""
    common = draw()
    return tuple(common if rng.random() < 0.6 else draw() for _ in range(10))


def scoring(task: str, samples: list[Sample], texts: list[str]) -> dict[str, Any]:
    answers = {sample.key: text for sample, text in zip(samples, texts, strict=True)}
    scorer = load_task(task).load_scorer()
    start = time.perf_counter()
    judge(samples, answers, scorer)
    seconds = time.perf_counter() - start
    return {"answers": len(samples), "answers_per_second": len(samples) / seconds}


def scorers() -> dict[str, Any]:
    rng = random.Random(SEED)
    model = open_source("picoscience", "test")[0]
    letters = [replace(model, id=str(n), choices=("x",) * 4) for n in range(SCORED)]
    said = ("A", "B", "The answer is C.", "D. of course", "Because")
    result = {
        "letters": scoring("scienceqa", letters, [rng.choice(said) for _ in letters]),
    }
    vocabulary = words(rng)
    weights = [1 / rank for rank in range(1, len(vocabulary) + 1)]
    pool = iter(rng.choices(vocabulary, weights, k=12 * SCORED))
    count = iter(range(100 * SCORED))
    kinds: dict[str, tuple[int, Callable[[], str]]] = {
        "vqa, frequent answers": (SCORED, lambda: next(pool)),
        "vqa, all answers differ": (SCORED // 4, lambda: f"answer-{next(count)}!"),
    }
    for name, (size, draw) in kinds.items():
        samples = [
            replace(model, id=str(n), wording="short", references=references(draw, rng))
            for n in range(size)
        ]
        texts = [
            rng.choice(s.references).capitalize() if rng.random() < 0.7 else draw() for s in samples
        ]
        result[name] = scoring("vqav2", samples, texts)
    return result


SHAPES = ((2560, 128, 384), (2560, 384, 128), (400, 576, 1536), (1024, 1024, 1024))
"""Rows, inputs and outputs: two of pico-llava's, one of smol-llava's, a large one."""


@torch.no_grad()
def products() -> dict[str, Any]:
    torch.manual_seed(SEED)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"used": is_onednn_faster(), "threads": 1}
    for rows, inputs, outputs in SHAPES:
        linear, x = torch.nn.Linear(inputs, outputs), torch.randn(rows, inputs)
        speeds = {}
        for name, mode in (("plain", nullcontext), ("onednn", OneDNN)):
            with mode():
                linear(x)
                seconds = statistics.median(duration(linear, x) for _ in range(50))
            speeds[name] = 2e-9 * rows * inputs * outputs / seconds
        result[f"{rows} x {inputs} x {outputs}"] = speeds
    torch.set_num_threads(threads)
    return result


def duration(work: Callable[[Any], Any], given: Any) -> float:
    """Seconds of one call."""
    begin = time.perf_counter()
    work(given)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--alone", type=int, default=200)
    parser.add_argument("--part", choices=["scorers", "products", "generation"], required=True)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--output", type=Path, default=HERE / "results.json")
    arguments = parser.parse_args()
    part = arguments.part
    if part == "scorers":
        result = scorers()
    elif part == "products":
        result = products()
    else:
        part = f"generation, {arguments.processes} processes"
        result = generation(arguments.batch_size, arguments.alone, arguments.processes)
    output = arguments.output
    record = json.loads(output.read_text(encoding="utf-8")) if output.exists() else {}
    record |= {"machine": machine.description(), "versions": machine.versions(), part: result}
    output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
