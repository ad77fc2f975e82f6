"""Quantize a checkpoint larger than the memory that the run may use, load it and generate.

    python benchmarks/at_size/run.py llava-1.3b --memory 3GiB --folder FOLDER --output FILE

Writes a random-weight checkpoint into FOLDER (see checkpoint.py) and quantizes it at w4a4 on 4
calibration samples, then loads the result and generates 8 tokens, each in a process of its own
whose peak memory is recorded. The resident memory after every layer is recorded, too. Stopped and
given again, the command goes on; seconds and peak are then those of all processes.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import queue
import shutil
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from at_size.checkpoint import ALL_SHAPES, write_checkpoint

SAMPLES = 4


def quantize(model: Path, output: Path, memory: str, log: Path, answers: Any) -> None:
    """Quantizes, or goes on where a process before was stopped; the log has a line per layer."""
    import qvlm
    from qvlm import machine
    from qvlm.artefacts.manifest import partial_of
    from qvlm.cli.parameters import memory_bytes

    start = time.perf_counter()

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        line = {
            "process": os.getpid(), "stage": stage, "done": done, "total": total,
            "resident_bytes": machine.rss_bytes(), "peak_rss_bytes": machine.peak_rss_bytes(),
            "seconds": time.perf_counter() - start, "cpu_seconds": time.process_time(),
        }  # fmt: skip
        with log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    if (partial_of(output) / "steps" / "journal.jsonl").is_file():
        result = qvlm.resume(output, progress=progress)
    else:
        log.unlink(missing_ok=True)
        settings = (f"calibration.samples={SAMPLES}", f"calibration.batch_size={SAMPLES}")
        result = qvlm.quantize(
            model, "w4a4", "picoscience", output,
            overrides=settings, overwrite=True, memory=memory_bytes(memory), progress=progress,
        )  # fmt: skip
    answers.put(
        {
            **of_all_processes(log),
            "checkpoint_bytes": result.sizes.checkpoint_bytes,
            "versions": result.versions,
            "machine": result.machine,
        }
    )


def of_all_processes(log: Path) -> dict[str, Any]:
    """Peak, seconds per stage and memory after each layer, over the processes of one run."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    stages: dict[str, dict[str, float]] = {}
    resident: dict[str, list[int]] = {}
    before: dict[str, Any] = {"process": None}
    for line in lines:
        if line["process"] != before["process"]:
            before = {"process": line["process"], "seconds": 0.0, "cpu_seconds": 0.0}
        spent = stages.setdefault(line["stage"], {"seconds": 0.0, "cpu_seconds": 0.0})
        for clock in spent:
            spent[clock] += line[clock] - before[clock]
        resident.setdefault(line["stage"], []).append(line["resident_bytes"])
        before = line
    return {
        "processes": len({line["process"] for line in lines}),
        "peak_rss_bytes": max(line["peak_rss_bytes"] for line in lines),
        "resident_bytes_per_layer": resident,
        "stages": stages,
    }


def generate(run: Path, answers: Any) -> None:
    import torch

    import qvlm
    from qvlm import machine

    start = time.perf_counter()
    model, processor = qvlm.load(run)
    loaded = time.perf_counter() - start
    ids = processor.tokenizer("What is heavier, a stone or a feather?", return_tensors="pt")
    with torch.no_grad():
        tokens = model.generate(**ids, max_new_tokens=8, do_sample=False)
    answers.put(
        {
            "load_seconds": loaded,
            "new_tokens": tokens.shape[1] - ids["input_ids"].shape[1],
            "peak_rss_bytes": machine.peak_rss_bytes(),
        }
    )


def measured(task: Any, *arguments: Any) -> dict[str, Any]:
    """What a function answers from a process of its own."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    process = context.Process(target=task, args=(*arguments, answers))
    process.start()
    while True:
        try:
            answer: dict[str, Any] = answers.get(timeout=5)
            break
        except queue.Empty:
            if not process.is_alive():
                raise SystemExit(f"{task.__name__} failed") from None
    process.join()
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", choices=ALL_SHAPES)
    parser.add_argument("--memory", default="5GiB")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--keep", action="store_true", help="leave the checkpoints")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    model = write_checkpoint(args.shape, args.folder / args.shape)
    run = args.folder / f"{args.shape}-w4a4"
    size = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    log = args.folder / f"{args.shape}.jsonl"
    found = {
        "shape": args.shape,
        "model_bytes": size,
        "memory": args.memory,
        "samples": SAMPLES,
        "quantize": measured(quantize, model, run, args.memory, log),
        "generate": measured(generate, run),
    }
    args.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if not args.keep:
        shutil.rmtree(model)
        shutil.rmtree(run)


if __name__ == "__main__":
    main()
