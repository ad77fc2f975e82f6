"""Quantize a checkpoint larger than the memory that the run may use, load it and generate.

    python benchmarks/at_size/run.py llava-1.3b --memory 3GiB --folder FOLDER --output FILE

Writes a random-weight checkpoint into FOLDER (see checkpoint.py) and quantizes it at w4a4 on 4
calibration samples, then loads the result and generates 8 tokens, each in a process of its own
whose peak memory is recorded. The resident memory after every layer is recorded, too.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import queue
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from at_size.checkpoint import ALL_SHAPES, write_checkpoint

SAMPLES = 4


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * resource.getpagesize()


def quantize(model: Path, output: Path, memory: str, answers: Any) -> None:
    import qvlm
    from qvlm.cli.parameters import memory_bytes

    layers: dict[str, list[int]] = {}

    def progress(stage: str, done: int, total: int, note: str = "") -> None:
        layers.setdefault(stage, []).append(resident_bytes())
        sys.stderr.write(f"{stage} {done}/{total} {resident_bytes() / 2**30:.2f} GiB\n")

    settings = (f"calibration.samples={SAMPLES}", f"calibration.batch_size={SAMPLES}")
    result = qvlm.quantize(
        model, "w4a4", "picoscience", output,
        overrides=settings, overwrite=True, memory=memory_bytes(memory), progress=progress,
    )  # fmt: skip
    answers.put(
        {
            "peak_rss_bytes": result.peak_rss_bytes,
            "resident_bytes_per_layer": layers,
            "seconds": result.total_seconds,
            "stages": {name: stage.seconds for name, stage in result.stages.items()},
            "checkpoint_bytes": result.sizes.checkpoint_bytes,
            "versions": result.versions,
            "machine": result.machine,
        }
    )


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
    found = {
        "shape": args.shape,
        "model_bytes": size,
        "memory": args.memory,
        "samples": SAMPLES,
        "quantize": measured(quantize, model, run, args.memory),
        "generate": measured(generate, run),
    }
    args.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if not args.keep:
        shutil.rmtree(model)
        shutil.rmtree(run)


if __name__ == "__main__":
    main()
